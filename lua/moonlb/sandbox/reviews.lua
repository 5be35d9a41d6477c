--- Kinds that are asked and answered, never stored: access reviews (all is allowed here) and service account tokens.
-- @module moonlb.sandbox.reviews
local uv = require("luv")
local body = require("moonlb.sandbox.body")
local clock = require("moonlb.sandbox.clock")
local json = require("moonlb.sandbox.json")
local status = require("moonlb.sandbox.status")
local types = require("moonlb.sandbox.types")

local reviews = {}

local user = "sandbox"

local answers = {
  access = function()
    return { allowed = true }
  end,
  rules = function()
    local any = json.list({ "*" })
    return {
      resourceRules = json.list({ { verbs = any, apiGroups = any, resources = any } }),
      nonResourceRules = json.list({ { verbs = any, nonResourceURLs = any } }), incomplete = false,
    }
  end,
  whoami = function()
    return { userInfo = { username = user, groups = json.list({ "system:masters", "system:authenticated" }) } }
  end,
}

-- The object back, with kind and metadata as the server writes them.
local function answered(kind, api_version, object, answer)
  object.kind, object.apiVersion, object.status = kind, api_version, answer
  object.metadata.creationTimestamp = json.null
  return object
end

--- POST of a review.
-- @treturn table  the object with its status, or nil, Status
function reviews.create(ctx)
  local resource = ctx.resource
  local object, refused = body.read(ctx, resource)
  if not object then
    return nil, refused
  end
  return answered(resource.kind, resource.api_version, object, answers[resource.review](object))
end

local token_request = {
  group = "authentication.k8s.io", version = "v1", api_version = "authentication.k8s.io/v1", plural = "tokenrequests",
  kind = "TokenRequest", type = types.get("TokenRequest"),
}

--- POST of a TokenRequest: a random token that no one checks, since the sandbox asks for none.
-- @treturn table  the object with its status, or nil, Status
function reviews.token(api, ctx)
  if not api.store:get("serviceaccounts", ctx.namespace .. "/" .. ctx.name) then
    return nil, status.not_found(ctx.resource, ctx.name)
  end
  local object, refused = body.read(ctx, token_request)
  if not object then
    return nil, refused
  end
  object.spec = object.spec or {}
  local seconds = object.spec.expirationSeconds or 3600
  if seconds < 600 then
    return nil, status.invalid(token_request, "", { status.invalid_value("spec.expirationSeconds", seconds,
      "may not specify a duration less than 10 minutes") })
  end
  object.spec.expirationSeconds = seconds
  local token = json.base64(uv.random(48)):gsub("+", "-"):gsub("/", "_")
  return answered("TokenRequest", "authentication.k8s.io/v1", object,
    { token = token, expirationTimestamp = clock.text(api.now() + seconds) })
end

return reviews
