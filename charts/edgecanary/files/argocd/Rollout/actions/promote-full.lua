check("promote-full")
return annotated("promote", "full-")
