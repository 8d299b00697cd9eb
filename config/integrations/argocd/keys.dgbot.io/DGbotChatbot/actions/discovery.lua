-- SPDX-License-Identifier: Apache-2.0

-- Both are about the HMAC secret, which a chatbot has only with spec.identityVerification. A chatbot ID is not rotated.
local without = obj.metadata.deletionTimestamp ~= nil or obj.spec.identityVerification == nil or obj.status == nil or obj.status.current == nil

return {
  ["rotate"] = { ["disabled"] = without },
  ["compromise"] = { ["disabled"] = without },
}
