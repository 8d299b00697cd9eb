-- SPDX-License-Identifier: Apache-2.0

-- One text for DGbotAPIKey, DGbotChatbot and DGbotEnvironment: Argo CD lets no script use another, and their conditions mean the
-- same. Why a state has the health that it has is in docs/gitops.md.

local function is(health, message)
  return { status = health, message = message }
end

if obj.metadata.deletionTimestamp ~= nil then
  return is("Progressing", "Being deleted")
end
if obj.status == nil or obj.status.conditions == nil then
  return is("Progressing", "Waiting for the DGbot key operator")
end
-- As text: Argo CD hands numbers over as numbers or as text, depending on where it has the object from.
if tostring(obj.status.observedGeneration) ~= tostring(obj.metadata.generation) then
  return is("Progressing", "The last change has not been looked at by the DGbot key operator yet")
end

-- Ready is always there, all others only while they are True.
local ready, reconciling, stalled, notes = nil, nil, nil, ""
for _, condition in ipairs(obj.status.conditions) do
  if condition.type == "Ready" then
    ready = condition
  elseif condition.type == "Reconciling" then
    reconciling = condition
  elseif condition.type == "Stalled" then
    stalled = condition
  else
    -- They do not affect Ready, and are worth knowing: that a key is about to be disabled because no client uses it, for example.
    notes = notes .. "; " .. condition.type .. ": " .. condition.message
  end
end

if stalled ~= nil then
  if stalled.reason == "Disabled" then
    return is("Suspended", stalled.message)
  end
  if stalled.reason == "Revoked" and obj.spec.state == "Revoked" then
    -- What was asked for, and done. One that an audit has revoked is Degraded.
    return is("Healthy", stalled.message)
  end
  return is("Degraded", stalled.message)
end
if reconciling ~= nil then
  return is("Progressing", reconciling.message)
end
if ready ~= nil and ready.status == "True" then
  return is("Healthy", ready.message .. notes)
end
return is("Progressing", "Waiting for the DGbot key operator")
