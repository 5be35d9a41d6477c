--- What a person types as Lua: an expression or statements, whole or to be continued; `local`s of the outermost level
-- become names of the session, so that they are there on the next line.
-- @module moonlb.control.repl.chunk
local chunk = {}

local OPENS = { ["function"] = 1, ["do"] = 1, ["if"] = 1, ["repeat"] = 1, ["end"] = -1, ["until"] = -1 }

-- Where a long bracket (`[[`, `[==[`) that begins at `at` ends; nil when none begins there, #text when it is open.
local function after_long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", at, true)
  return (last or #text) + 1
end

local function after_string(text, at)
  local quote = text:sub(at, at)
  local i = at + 1
  while i <= #text do
    local char = text:sub(i, i)
    if char == quote or char == "\n" then return i + 1 end
    i = i + (char == "\\" and 2 or 1)
  end
  return i
end

-- The next token from `at`: its first byte, what follows it, and its text when it is a word or a single character.
local function next_token(text, at)
  while true do
    at = text:find("%S", at)
    if not at then return nil end
    if text:sub(at, at + 1) ~= "--" then break end
    at = after_long_bracket(text, at + 2) or (text:find("\n", at, true) or #text) + 1
  end
  local word = text:match("^[%a_][%w_]*", at)
  if word then return at, at + #word, word end
  local number = text:match("^%.?%d[%w%.]*", at)
  if number then return at, at + #number, "0" end
  local char = text:sub(at, at)
  if char == '"' or char == "'" then return at, after_string(text, at), char end
  local after = char == "[" and after_long_bracket(text, at)
  if after then return at, after, '"' end
  if char == "=" and text:sub(at, at + 1) == "==" then return at, at + 2, "==" end
  return at, at + 1, char
end

-- The names after a `local` that stands at `at`, without attributes; what follows them; whether a `=` does.
local function read_names(text, at)
  local names = {}
  while true do
    local _, after, word = next_token(text, at)
    if not word or not word:match("^[%a_]") then return nil end
    names[#names + 1], at = word, after
    local from, behind, mark = next_token(text, at)
    if mark == "<" then
      _, behind = next_token(text, behind)
      if behind then _, behind = next_token(text, behind) end
      if not behind then return nil end
      at = behind
      from, behind, mark = next_token(text, at)
    end
    if mark ~= "," then return names, at, mark == "=" and from ~= nil end
    at = behind
  end
end

-- Replace `local a, b` by `a, b` (with ` = nil` where nothing is assigned) and `local function f` by `function f`.
local function without_local(text, at, after)
  local _, _, word = next_token(text, after)
  if word == "function" then return text:sub(1, at - 1) .. text:sub(after), at end
  local names, behind, is_assigned = read_names(text, after)
  if not names then return text, after end
  local list = table.concat(names, ", ") .. (is_assigned and "" or " = nil;")
  return text:sub(1, at - 1) .. " " .. list .. text:sub(behind), at + #list + 1
end

--- The text with the `local`s of its outermost level taken away.
-- @tparam string text
-- @treturn string
function chunk.lift(text)
  local at, depth = 1, 0
  while true do
    local from, after, word = next_token(text, at)
    if not from then return text end
    depth = depth + (OPENS[word] or 0)
    if word == "local" and depth == 0 then
      text, at = without_local(text, from, after)
    else
      at = after
    end
  end
end

local NAME = "=input"

local function is_cut(message)
  return message:find("near '?<eof>'?$") ~= nil and not message:find("unfinished string", 1, true)
end

--- Compile what was typed.
-- @tparam string text
-- @tparam table environment
-- @treturn function|nil  and whether it is an expression; or nil, message, `"EAGAIN"`: a part is missing, or `"EINVAL"`
function chunk.compile(text, environment)
  local bare = text:match("^%s*=(.*)$")
  local fn, unfinished = load("return " .. (bare or text), NAME, "t", environment)
  if fn then return fn, true end
  local message
  fn, message = load(bare and "return " .. bare or chunk.lift(text), NAME, "t", environment)
  if fn then return fn, bare ~= nil end
  return nil, message, (is_cut(message) or is_cut(unfinished)) and "EAGAIN" or "EINVAL"
end

return chunk
