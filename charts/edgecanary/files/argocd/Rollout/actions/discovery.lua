local TITLES = {
  ["promote"] = "Promote: approve the step and end its bake",
  ["promote-full"] = "Promote in full: to all nodes, without bakes and gates",
  ["abort"] = "Abort: take the canary back",
  ["retry"] = "Retry the rejected revision",
  ["pause"] = "Pause",
  ["resume"] = "Resume",
}
if in_git("spec", "paused") then
  TITLES["pause"] = "Pause (set in Git: a sync takes it back)"
  TITLES["resume"] = "Resume (set in Git: a sync takes it back)"
end

local actions = {}
for action, title in pairs(TITLES) do
  actions[action] = { ["disabled"] = HINDRANCES[action]() ~= nil, ["displayName"] = title }
end
return actions
