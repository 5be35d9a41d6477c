--- The Prometheus text format 0.0.4: counters end in `_total`, gauges do not, units are base units.
-- @module moonlb.daemon.exposition
local exposition = {}

local Page = { __name = "moonlb.daemon.exposition" }
Page.__index = Page

--- An empty page.
function exposition.new()
  return setmetatable({ lines = {} }, Page)
end

local ESCAPES = { ["\\"] = "\\\\", ["\n"] = "\\n", ["\""] = "\\\"" }

local function labels_text(labels)
  if not labels or not next(labels) then return "" end
  local parts = {}
  for name, value in pairs(labels) do
    parts[#parts + 1] = ("%s=\"%s\""):format(name, tostring(value):gsub("[\\\n\"]", ESCAPES))
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

local function number_text(value)
  return math.tointeger(value) and tostring(math.tointeger(value)) or ("%.9g"):format(value)
end

function Page:head(name, kind, help)
  self.lines[#self.lines + 1] = ("# HELP moonlb_%s %s"):format(name, help)
  self.lines[#self.lines + 1] = ("# TYPE moonlb_%s %s"):format(name, kind)
end

function Page:sample(name, labels, value)
  self.lines[#self.lines + 1] = ("moonlb_%s%s %s"):format(name, labels, number_text(value))
end

--- A family of one kind. Without a sample it is left out.
-- @tparam string name  without `moonlb_`
-- @tparam string kind  `"counter"` or `"gauge"`
-- @tparam string help  one line
-- @param samples  a number, or an array of `{value, labels}`; they are put in the order of their labels
function Page:family(name, kind, help, samples)
  if type(samples) ~= "table" then samples = { { samples } } end
  if #samples == 0 then return end
  self:head(name, kind, help)
  local list = {}
  for i, sample in ipairs(samples) do list[i] = { labels_text(sample[2]), sample[1] } end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  for _, sample in ipairs(list) do self:sample(name, sample[1], sample[2]) end
end

--- A family of one label, from a table of counts.
-- @tparam table counts  value of the label -> number
function Page:counted(name, kind, help, label, counts)
  local samples = {}
  for value, count in pairs(counts) do samples[#samples + 1] = { count, { [label] = value } } end
  self:family(name, kind, help, samples)
end

--- A family of histograms of one label.
-- @tparam table histograms  value of the label -> moonlb.histogram
function Page:histograms(name, help, label, histograms)
  local values = {}
  for value in pairs(histograms) do values[#values + 1] = value end
  if #values == 0 then return end
  table.sort(values)
  self:head(name, "histogram", help)
  for _, value in ipairs(values) do
    local it, total = histograms[value], 0
    for i, count in ipairs(it.counts) do
      total = total + count
      local bound = it.bounds[i] and number_text(it.bounds[i]) or "+Inf"
      self:sample(name .. "_bucket", labels_text({ [label] = value, le = bound }), total)
    end
    self:sample(name .. "_sum", labels_text({ [label] = value }), it.sum)
    self:sample(name .. "_count", labels_text({ [label] = value }), it.count)
  end
end

--- The page as text.
function Page:text()
  return table.concat(self.lines, "\n") .. "\n"
end

return exposition
