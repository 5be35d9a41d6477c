--- Words that several diagnoses use: commands that can be typed as they are, and the last Warning of an Event.
-- @module moonlb.control.explain.words
local words = {}

--- Where moonlb runs in a cluster.
words.PODS = "kubectl -n kube-system get pods -o wide -l app.kubernetes.io/name=moonlb"

--- A command about the Service.
-- @tparam table facts
-- @tparam string text  with `%s` for its name
function words.kubectl(facts, text)
  local namespace, name = facts.key:match("^(.-)/(.+)$")
  return ("kubectl -n %s %s"):format(namespace, text:format(name))
end

--- The command that opens the ConfigMap with the pools in an editor.
function words.edit_configmap(facts)
  return ("kubectl -n %s edit configmap %s"):format(facts.configmap.name:match("^(.-)/(.+)$"))
end

--- The command that asks a moonlb that runs.
function words.ask_daemon(facts)
  return "kubectl -n kube-system exec ds/moonlb -- moonlb explain " .. facts.key
end

--- That the policy in charge is nowhere, and where it was looked for.
function words.missing_policy(facts)
  local file = facts.policy_file
  return ("there is no policy %s: neither in %s (%s) nor in moonlb itself"):format(facts.policy,
    file.folder or "the folder of policies", file.names and file.names[1] and table.concat(file.names, ", ") or "empty")
end

--- What to do about it.
function words.choose_policy(facts)
  local file = facts.policy_file
  return ("put it there as %s.lua, or choose another by the key %s of the ConfigMap: %s"):format(facts.policy,
    file.key, words.edit_configmap(facts))
end

--- The last Event or entry of the flight recorder that says one of these things.
-- @tparam table facts
-- @tparam table reasons  set of Events' reasons
-- @treturn table|nil  `{type=, reason=, message=, at=}`
function words.last_event(facts, reasons)
  local found
  for _, list in ipairs({ facts.events or {}, facts.history or {} }) do
    for _, it in ipairs(list) do
      if it.reason and it.type and reasons[it.reason] and (not found or it.at >= found.at) then found = it end
    end
  end
  return found
end

return words
