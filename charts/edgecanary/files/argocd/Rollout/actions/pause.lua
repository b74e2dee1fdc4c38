check("pause")
obj.spec.paused = true
return obj
