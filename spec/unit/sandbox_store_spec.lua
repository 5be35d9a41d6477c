local schema = require("moonlb.sandbox.schema")
local selectors = require("moonlb.sandbox.selectors")
local json = require("moonlb.sandbox.json")
local stores = require("moonlb.sandbox.store")
local types = require("moonlb.sandbox.types")

local function object(name, value)
  return { metadata = { name = name }, data = { v = value } }
end

local function names(iterate)
  local list = {}
  for record in iterate do
    list[#list + 1] = record.key .. "=" .. tostring(record.object.data.v)
  end
  return table.concat(list, " ")
end

describe("sandbox.store", function()
  it("counts one revision over all resources", function()
    local store = stores.new()
    local first = store:create("a", "n/x", object("x", 1))
    local second = store:create("b", "n/x", object("x", 1))
    assert.equal(first.revision + 1, second.revision)
    assert.equal(tostring(second.revision), second.object.metadata.resourceVersion)
  end)

  it("a write that changes nothing keeps the revision and is seen by no watch", function()
    local store, seen = stores.new(), 0
    local record = store:create("a", "n/x", object("x", 1))
    store:watch("a", nil, function() seen = seen + 1 end)
    local same = object("x", 1)
    same.metadata.resourceVersion = record.object.metadata.resourceVersion
    assert.equal(record, store:replace("a", "n/x", same))
    assert.equal(0, seen)
    assert.are_not.equal(record, store:replace("a", "n/x", object("x", 2)))
    assert.equal(1, seen)
  end)

  it("lists in key order, below a prefix, from a key", function()
    local store = stores.new()
    for _, key in ipairs({ "b/2", "a/1", "b/1", "a-b/1", "c/1" }) do
      store:create("a", key, object(key, 0))
    end
    assert.equal("a-b/1=0 a/1=0 b/1=0 b/2=0 c/1=0", names(store:each("a", {})))
    assert.equal("b/1=0 b/2=0", names(store:each("a", { prefix = "b/" })))
    assert.equal("b/2=0", names(store:each("a", { prefix = "b/", from = "b/1\0" })))
  end)

  it("lists the past: changed, created and deleted objects as they were", function()
    local store = stores.new()
    store:create("a", "n/1", object("1", "old"))
    store:create("a", "n/2", object("2", "kept"))
    store:create("a", "n/3", object("3", "gone"))
    local then_revision = store.revision
    store:replace("a", "n/1", object("1", "new"))
    store:replace("a", "n/1", object("1", "newer"))
    store:remove("a", "n/3")
    store:create("a", "n/4", object("4", "later"))
    assert.equal("n/1=old n/2=kept n/3=gone", names(store:each("a", { at = then_revision })))
    assert.equal("n/1=newer n/2=kept n/4=later", names(store:each("a", {})))
  end)

  it("gives a watch what came after its revision, in order, deletions with a revision of their own", function()
    local store, seen = stores.new(), {}
    store:create("a", "n/1", object("1", 1))
    local from = store.revision
    store:replace("a", "n/1", object("1", 2))
    store:remove("a", "n/1")
    local watcher = assert(store:watch("a", from, function(event)
      seen[#seen + 1] = event.type .. " " .. event.record.object.metadata.resourceVersion
    end))
    store:create("a", "n/2", object("2", 1))
    watcher:stop()
    store:create("a", "n/3", object("3", 1))
    assert.same({ "MODIFIED " .. from + 1, "DELETED " .. from + 2, "ADDED " .. from + 3 }, seen)
  end)

  it("forgets beyond its history and on compaction: then the past is Expired", function()
    local store = stores.new({ history = 4 })
    local first = store:create("a", "n/0", object("0", 0)).revision
    for i = 1, 10 do
      store:create("a", "n/" .. i, object(tostring(i), i))
    end
    local watcher, _, code = store:watch("a", first, function() end)
    assert.is_nil(watcher)
    assert.equal("Expired", code)
    assert.is_table((store:watch("a", store.revision - 2, function() end)))
    store:compact()
    assert.is_nil((store:watch("a", store.revision - 1, function() end)))
    assert.is_nil((store:each("a", { at = store.revision - 1 })))
    assert.is_table((store:watch("a", store.revision, function() end)))
    assert.equal(11, store:count("a"))
  end)
end)

describe("sandbox.selectors.labels", function()
  local function holds(text, labels)
    return assert(selectors.labels(text))({ metadata = { labels = labels } })
  end

  it("knows equality, sets and existence", function()
    for _, case in ipairs({
      { "a=b", true }, { "a==b", true }, { "a=c", false }, { "a!=b", false }, { "a!=c", true }, { "x!=y", true },
      { "a", true }, { "!a", false }, { "!x", true }, { "a in (b, c)", true }, { "a in (c)", false },
      { "x in (y)", false },
      { "a notin (b)", false }, { "x notin (y)", true }, { "a=b,d=e", true }, { "a=b,d!=e", false }, { "e=", true },
      { "a=", false },
    }) do
      assert.equal(case[2], holds(case[1], { a = "b", d = "e", e = "" }), case[1])
    end
  end)

  it("refuses what cannot be parsed", function()
    for _, text in ipairs({ "=b", "a in b", "a in (b", "a=b,", "a b", "!", "a=b=c", "in (a)" }) do
      local selector, _, code = selectors.labels(text)
      assert.is_nil(selector, text)
      assert.equal("EINVAL", code)
    end
  end)
end)

describe("sandbox.selectors.fields", function()
  it("knows names, and what the kind adds; says what it does not know", function()
    local fields = { ["involvedObject.name"] = "involvedObject.name", strict = true }
    local selects, equal = selectors.fields("metadata.name=x,involvedObject.name!=y", fields)
    assert.equal("x", equal["metadata.name"])
    assert.is_true(selects({ metadata = { name = "x" }, involvedObject = { name = "z" } }))
    assert.is_false(selects({ metadata = { name = "x" }, involvedObject = { name = "y" } }))
    assert.equal("field label not supported: spec.x", select(2, selectors.fields("spec.x=1", fields)))
    assert.equal('"spec.type" is not a known field selector: only "metadata.name", "metadata.namespace"',
      select(2, selectors.fields("spec.type=x", {})))
    assert.equal("invalid selector: 'bad'; can't understand 'bad'", select(2, selectors.fields("bad", {})))
  end)
end)

describe("sandbox.schema.read", function()
  local function read(type_name, text)
    return schema.read(types.get(type_name), json.decode(text))
  end

  it("finds unknown fields where they are", function()
    local value, unknown = read("Service", '{"kind":"Service","bogus":1,"spec":{"ports":[{"port":1},{"prot":"TCP"}]}}')
    assert.same({ "bogus", "spec.ports[1].prot" }, unknown)
    assert.equal('{"spec":{"ports":[{"port":1},{}]}}', json.encode(value))
  end)

  it("drops nulls and refuses wrong types", function()
    local value = read("Service", '{"metadata":{"creationTimestamp":null},"spec":null}')
    assert.equal('{"metadata":{}}', json.encode(value))
    for _, text in ipairs({
      '{"spec":{"ports":[{"port":"80"}]}}', '{"spec":{"ports":{"port":80}}}', '{"spec":[]}',
      '{"metadata":{"labels":{"a":1}}}', '{"spec":{"type":true}}', '{"spec":{"ports":[{"port":1.5}]}}',
      '{"spec":{"publishNotReadyAddresses":"yes"}}', "[]", "1",
    }) do
      local refused, message, code = read("Service", text)
      assert.is_nil(refused, text)
      assert.matches("^json: ", message)
      assert.equal("EINVAL", code)
    end
  end)

  it("wants six digits in the times of Leases, and writes them in UTC", function()
    local function renewed(text)
      local value = read("Lease", '{"spec":{"renewTime":"' .. text .. '"}}')
      return value and value.spec.renewTime
    end
    assert.equal("2026-11-22T10:00:00.123456Z", renewed("2026-11-22T10:00:00.123456Z"))
    assert.equal("2025-12-31T23:30:00.000001Z", renewed("2026-01-01T01:00:00.000001+01:30"))
    for _, text in ipairs({ "2026-11-22T10:00:00Z", "2026-11-22T10:00:00.1Z", "2026-11-22T10:00:00.1234567Z",
      "2026-13-22T10:00:00.123456Z", "now", "2026-11-22T10:00:00.123456" }) do
      assert.is_nil(renewed(text), text)
    end
  end)
end)
