-- Never refused: whoever says stop is not to be kept from it by a status that lags behind.
return annotated("abort", "")
