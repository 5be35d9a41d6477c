local json = require("moonlb.sandbox.json")
local patch = require("moonlb.sandbox.patch")
local strategic = require("moonlb.sandbox.strategic")
local types = require("moonlb.sandbox.types")

local function merged(target, change)
  return json.encode(patch.merge(json.decode(target), json.decode(change)))
end

describe("sandbox.patch.merge (RFC 7386)", function()
  it("passes the cases of appendix A", function()
    for _, case in ipairs({
      { '{"a":"b"}', '{"a":"c"}', '{"a":"c"}' },
      { '{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}' },
      { '{"a":"b"}', '{"a":null}', "{}" },
      { '{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}' },
      { '{"a":["b"]}', '{"a":"c"}', '{"a":"c"}' },
      { '{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}' },
      { '{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}' },
      { '{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}' },
      { '["a","b"]', '["c","d"]', '["c","d"]' },
      { '{"a":"b"}', '["c"]', '["c"]' },
      { '{"a":"foo"}', "null", "null" },
      { '{"a":"foo"}', '"bar"', '"bar"' },
      { '{"e":null}', '{"a":1}', '{"a":1,"e":null}' },
      { "[1,2]", '{"a":"b","c":null}', '{"a":"b"}' },
      { "{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}' },
    }) do
      assert.equal(case[3], merged(case[1], case[2]))
    end
  end)

  it("leaves the target as it was", function()
    local target = json.decode('{"a":{"b":1}}')
    patch.merge(target, json.decode('{"a":{"b":2}}'))
    assert.equal('{"a":{"b":1}}', json.encode(target))
  end)
end)

describe("sandbox.patch.json_patch (RFC 6902)", function()
  local function patched(target, list)
    local result, message, code = patch.json_patch(json.decode(target), json.decode(list))
    return result and json.encode(result), message, code
  end

  it("adds, removes, replaces, moves, copies and tests", function()
    for _, case in ipairs({
      { '{"a":1}', '[{"op":"add","path":"/b","value":2}]', '{"a":1,"b":2}' },
      { '{"a":[1,3]}', '[{"op":"add","path":"/a/1","value":2}]', '{"a":[1,2,3]}' },
      { '{"a":[1]}', '[{"op":"add","path":"/a/-","value":[2]}]', '{"a":[1,[2]]}' },
      { '{"a":1}', '[{"op":"add","path":"","value":{"b":2}}]', '{"b":2}' },
      { '{"a":null}', '[{"op":"remove","path":"/a"}]', "{}" },
      { '{"a":[1,2,3]}', '[{"op":"remove","path":"/a/1"}]', '{"a":[1,3]}' },
      { '{"a":[1,2]}', '[{"op":"replace","path":"/a/0","value":9}]', '{"a":[9,2]}' },
      { '{"a":{"b":1},"c":{}}', '[{"op":"move","from":"/a/b","path":"/c/d"}]', '{"a":{},"c":{"d":1}}' },
      { '{"a":[1,2,3]}', '[{"op":"move","from":"/a/0","path":"/a/2"}]', '{"a":[2,3,1]}' },
      { '{"a":{"b":[1]}}', '[{"op":"copy","from":"/a/b","path":"/c"}]', '{"a":{"b":[1]},"c":[1]}' },
      { '{"a":[1,{"b":null}]}', '[{"op":"test","path":"/a","value":[1,{"b":null}]}]', '{"a":[1,{"b":null}]}' },
      {
        '{"a/b":1,"m~n":2}', '[{"op":"remove","path":"/a~1b"},{"op":"replace","path":"/m~0n","value":3}]',
        '{"m~n":3}',
      },
    }) do
      assert.equal(case[3], (patched(case[1], case[2])), case[2])
    end
  end)

  it("refuses what does not fit, and then changes nothing", function()
    for _, list in ipairs({
      '[{"op":"test","path":"/a","value":2}]', '[{"op":"remove","path":"/b"}]',
      '[{"op":"replace","path":"/b","value":1}]', '[{"op":"add","path":"/x/y","value":1}]',
      '[{"op":"add","path":"/l/5","value":1}]', '[{"op":"add","path":"b","value":1}]',
      '[{"op":"add","path":"/l/01","value":1}]', '[{"op":"add","path":"/b"}]', '[{"op":"nonsense","path":"/a"}]',
      "[1]", '[{"op":"remove","path":""}]', '[{"op":"move","from":"/o","path":"/o/p"}]',
      '[{"op":"add","path":"/~2","value":1}]', '[{"op":"remove","path":"/l/-"}]', '[{"op":"test","path":"/a"}]',
      '[{"op":"add","path":7,"value":1}]',
    }) do
      local target = json.decode('{"a":1,"l":[1],"o":{"p":1}}')
      local result, message, code = patch.json_patch(target, json.decode(list))
      assert.is_nil(result, list)
      assert.is_string(message)
      assert.equal("EINVAL", code)
      assert.equal('{"a":1,"l":[1],"o":{"p":1}}', json.encode(target))
    end
  end)
end)

describe("sandbox.strategic.merge", function()
  local function ports(target, change)
    local result, message = strategic.merge(json.decode(target), json.decode(change), types.get("Service"))
    return result and json.encode(result), message
  end

  it("merges ports by number; new ones come first", function()
    assert.equal('{"spec":{"ports":[{"port":81},{"name":"a","nodePort":30000,"port":80}]}}',
      (ports('{"spec":{"ports":[{"port":80,"nodePort":30000}]}}',
        '{"spec":{"ports":[{"port":81},{"port":80,"name":"a"}]}}')))
  end)

  it("deletes an element, and replaces a list, on request", function()
    assert.equal('{"spec":{"ports":[{"port":80}]}}',
      (ports('{"spec":{"ports":[{"port":80},{"port":81}]}}', '{"spec":{"ports":[{"port":81,"$patch":"delete"}]}}')))
    assert.equal('{"spec":{"ports":[{"port":82}]}}',
      (ports('{"spec":{"ports":[{"port":80}]}}', '{"spec":{"ports":[{"$patch":"replace"},{"port":82}]}}')))
    assert.equal('{"spec":{"selector":{"b":"c"}}}',
      (ports('{"spec":{"selector":{"a":"x"}}}', '{"spec":{"selector":{"$patch":"replace","b":"c"}}}')))
  end)

  it("puts elements in the order asked for, with or without a change", function()
    assert.equal('{"spec":{"ports":[{"port":82},{"port":80},{"port":81}]}}',
      (ports('{"spec":{"ports":[{"port":80},{"port":81}]}}',
        '{"spec":{"$setElementOrder/ports":[{"port":82},{"port":80},{"port":81}],"ports":[{"port":82}]}}')))
    assert.equal('{"spec":{"ports":[{"port":81},{"port":80}]}}',
      (ports('{"spec":{"ports":[{"port":80},{"port":81}]}}',
        '{"spec":{"$setElementOrder/ports":[{"port":81},{"port":80},{"port":80}]}}')))
  end)

  it("treats finalizers as a set", function()
    local function finalizers(change)
      return (ports('{"metadata":{"finalizers":["a/b"]}}', '{"metadata":' .. change .. "}"))
    end
    assert.equal('{"metadata":{"finalizers":["c/d","a/b"]}}', finalizers('{"finalizers":["c/d"]}'))
    assert.equal('{"metadata":{"finalizers":["a/b"]}}', finalizers('{"finalizers":["a/b"]}'))
    assert.equal('{"metadata":{"finalizers":[]}}', finalizers('{"$deleteFromPrimitiveList/finalizers":["a/b"]}'))
  end)

  it("replaces the ingress list whole, merges conditions by type, and drops fields given as null", function()
    local function object(condition, address)
      return ('"status":{"conditions":[{"status":"%s","type":"A"}],"loadBalancer":{"ingress":[{"ip":"%s"}]}}}')
        :format(condition, address)
    end
    assert.equal("{" .. object("False", "2.2.2.2"),
      (ports('{"spec":{},' .. object("True", "1.1.1.1"), '{"spec":null,' .. object("False", "2.2.2.2"))))
  end)

  it("keeps only the keys named by $retainKeys", function()
    assert.equal('{"spec":{"type":"ClusterIP"}}',
      (ports('{"spec":{"type":"X","clusterIP":"1"}}', '{"spec":{"$retainKeys":["type"],"type":"ClusterIP"}}')))
  end)

  it("refuses an element without its key and a list that is none", function()
    local result, message = ports('{"spec":{"ports":[{"port":80}]}}', '{"spec":{"ports":[{"name":"a"}]}}')
    assert.is_nil(result)
    assert.matches("does not contain declared merge key: port", message)
    assert.is_nil((ports("{}", '{"spec":{"ports":{"port":80}}}')))
    assert.is_nil((ports("{}", '{"spec":{"ports":[{"$patch":"bogus","port":1}]}}')))
  end)
end)

describe("sandbox.strategic.apply", function()
  it("finds ports by number and protocol", function()
    local result = strategic.apply(json.decode('{"spec":{"ports":[{"port":53,"protocol":"UDP","nodePort":30000}]}}'),
      json.decode('{"spec":{"ports":[{"port":53,"protocol":"UDP","name":"dns"},{"port":53,"name":"tcp"}]}}'),
      types.get("Service"))
    assert.equal('[{"name":"dns","nodePort":30000,"port":53,"protocol":"UDP"},{"name":"tcp","port":53}]',
      json.encode(result.spec.ports))
  end)
end)
