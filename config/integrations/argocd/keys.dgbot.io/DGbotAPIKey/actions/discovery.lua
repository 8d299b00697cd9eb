-- SPDX-License-Identifier: Apache-2.0

-- What changes spec (disable, enable, revoke) is not offered: it would drift from Git, and the next sync would take it back.
local status, reason = obj.status, ""
for _, condition in ipairs(status ~= nil and status.conditions or {}) do
  if condition.type == "Stalled" then
    reason = condition.reason
  end
end
-- No key has been published, or none verifies any more and none is issued until spec, or a decision about the audit, says so.
local without = obj.metadata.deletionTimestamp ~= nil or status == nil or status.binding == nil or reason == "Revoked" or reason == "Expired"

return {
  -- A disabled key would be rotated when it is enabled again, to the surprise of the user who does that.
  ["rotate"] = { ["disabled"] = without or reason == "Disabled" },
  -- A disabled key that has leaked must not verify when it is enabled again.
  ["compromise"] = { ["disabled"] = without },
}
