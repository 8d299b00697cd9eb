-- SPDX-License-Identifier: Apache-2.0

-- What 'kubectl dgbot rotate' does: an annotation that is not in Git, so that nothing drifts and no sync takes it away.
local os = require("os")
local at = os.date("!%Y-%m-%dT%H:%M:%SZ")
-- Never before the revision in use was issued: a clock that is behind the operator's would ask for nothing.
if obj.status.current ~= nil and obj.status.current.issuedAt > at then
  at = obj.status.current.issuedAt
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["keys.dgbot.io/rotate-requested-at"] = at
return obj
