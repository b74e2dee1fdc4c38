-- What a Rollout says of itself, and what keeps an action from acting now. Stands before discovery and each action.
-- Argo CD gives a script base, table and, by require, os.time and os.date; there is no string library.
local status = obj.status or {}
local seen = status.observedGeneration == obj.metadata.generation
local paused = obj.spec.paused == true
local reason = "Unknown"
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" then
    reason = condition.reason
  end
end

-- Reasons of a step in progress, in which a promotion acts.
local IN_STEP = {
  AnalysisInconclusive = true,
  AwaitingApproval = true,
  Baking = true,
  DeadlineExceeded = true,
  NodesOffline = true,
  NodesUpdating = true,
  Progressing = true,
}

-- Whether Git has the field, which the next sync would put back. Only server-side apply tells.
local function in_git(...)
  for _, entry in ipairs(obj.metadata.managedFields or {}) do
    local fields = entry.operation == "Apply" and entry.fieldsV1 or nil
    for _, name in ipairs({ ... }) do
      fields = fields and fields["f:" .. name]
    end
    if fields ~= nil then
      return true
    end
  end
  return false
end

local function not_yet(action)
  if not seen then
    return "the operator has not taken in the current spec yet"
  end
  -- The next sync would set the token of Git again, and it would act a second time.
  if in_git("metadata", "annotations", "edgecanary.dev/" .. action) then
    return "metadata.annotations: edgecanary.dev/" .. action .. " is set in Git; set another token there"
  end
end

local HINDRANCES = {
  ["promote"] = function()
    if reason == "AwaitingRollback" then
      return "a gate failed; abort takes the revision back, promote-full goes on all the same"
    elseif not IN_STEP[reason] or (status.step or {}).skipsGates then
      return "no step waits for a promotion (" .. reason .. ")"
    end
    return not_yet("promote")
  end,
  ["promote-full"] = function()
    if paused then
      return "spec.paused is true; resume first"
    elseif not (IN_STEP[reason] or reason == "AwaitingRollback") or (status.step or {}).skipsGates then
      return "no step waits for a promotion (" .. reason .. ")"
    end
    return not_yet("promote")
  end,
  ["retry"] = function()
    if reason ~= "RolledBack" then
      return "the wanted revision is not rejected (" .. reason .. ")"
    elseif paused then
      return "spec.paused is true; resume first"
    end
    return not_yet("retry")
  end,
  ["abort"] = function()
    if seen and status.canary == nil then
      return "nothing is rolling (" .. reason .. ")"
    end
  end,
  ["pause"] = function()
    if paused then
      return "spec.paused is true already"
    end
  end,
  ["resume"] = function()
    if not paused then
      return "spec.paused is not true"
    end
  end,
}

-- Refuses in words where the action would not act.
local function check(action)
  local hindrance = HINDRANCES[action]()
  if hindrance ~= nil then
    error(action .. ": " .. hindrance, 0)
  end
end

-- The object with the action's annotation set to a new token: no two moments and no two versions have the same.
local function annotated(action, prefix)
  local os = require("os")
  local annotations = obj.metadata.annotations or {}
  local now = os.date("!%Y%m%dT%H%M%SZ")
  annotations["edgecanary.dev/" .. action] = prefix .. "argocd-" .. now .. "-" .. obj.metadata.resourceVersion
  obj.metadata.annotations = annotations
  return obj
end
