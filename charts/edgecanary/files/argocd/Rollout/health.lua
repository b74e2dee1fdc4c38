-- Health of a Rollout. Its status follows kstatus: Ready always, Reconciling and Stalled only while True.
local hs = { status = "Progressing" }
local status = obj.status or {}
local observed = status.observedGeneration

-- What waits for a person, or for something outside: a new reason is Progressing until it is named here.
local SUSPENDED = {
  AnalysisInconclusive = true,
  AwaitingApproval = true,
  AwaitingRollback = true,
  DeadlineExceeded = true,
  NoMatchingNodes = true,
  Paused = true,
}

if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "it is being deleted"
  return hs
end
if observed == nil or observed < 0 then
  hs.message = "the operator has not seen it yet"
  return hs
end
if observed ~= obj.metadata.generation then
  hs.message = "generation " .. obj.metadata.generation .. " is not planned yet; the operator has seen " .. observed
  return hs
end

local ready, stalled
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    ready = condition
  elseif condition.type == "Stalled" and condition.status == "True" then
    stalled = condition
  end
end
if ready == nil then
  hs.message = "the operator has not said yet whether it is ready"
  return hs
end

local reason = ready.reason
if ready.status == "True" then
  hs.status = "Healthy"
elseif ready.status == "False" then
  hs.status = "Degraded"
  if stalled ~= nil and stalled.reason ~= reason then
    reason = reason .. " (" .. stalled.reason .. ")"
  end
elseif SUSPENDED[reason] then
  hs.status = "Suspended"
end
hs.message = reason .. ": " .. (ready.message or "")
return hs
