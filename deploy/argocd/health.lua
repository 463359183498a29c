-- Health of Share, ShareRecipient and ShareResource, as Argo CD shows it and waits for it.
local status = obj.status or {}
local is = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Ready" or condition.status == "True" then
    is[condition.type] = condition
  end
end

if is.Ready == nil or status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not seen this generation yet" }
end
if is.Ready.reason == "Suspended" then
  return { status = "Suspended", message = is.Ready.message }
end
if is.Stalled ~= nil then
  return { status = "Degraded", message = is.Stalled.message }
end
-- Before Ready: an object that is being worked on is not ready yet, but well.
if is.Reconciling ~= nil then
  return { status = "Progressing", message = is.Reconciling.message }
end
if is.Ready.status == "True" then
  return { status = "Healthy", message = is.Ready.message }
end
return { status = "Degraded", message = is.Ready.message }
