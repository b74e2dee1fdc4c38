check("resume")
obj.spec.paused = false
return obj
