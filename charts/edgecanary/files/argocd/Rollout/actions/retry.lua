check("retry")
return annotated("retry", "")
