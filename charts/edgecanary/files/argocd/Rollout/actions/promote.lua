check("promote")
return annotated("promote", "")
