-- Health of an EdgeModel. Its status follows kstatus: Ready always, Reconciling and Stalled only while True.
-- Ready is False when a person has to see to something, also while the operator tries again by itself.
local hs = { status = "Progressing" }
local status = obj.status or {}
local observed = status.observedGeneration

if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "it is being deleted"
  return hs
end
if observed == nil or observed < 0 then
  hs.message = "the operator has not seen it yet"
  return hs
end
if observed ~= obj.metadata.generation then
  hs.message = "generation " .. obj.metadata.generation .. " is not checked yet; the operator has seen " .. observed
  return hs
end

for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    if condition.status == "True" then
      hs.status = "Healthy"
    elseif condition.status == "False" then
      hs.status = "Degraded"
    end
    hs.message = condition.reason .. ": " .. (condition.message or "")
    return hs
  end
end

hs.message = "the operator has not said yet whether it is ready"
return hs
