-- text: regular expressions in RE2 syntax. text.regexp.compile(pattern) -> Regexp | nil, err (Invalid)
--   match_string(s) -> bool             find_string(s) -> text | nil            find_all_string(s) -> texts
--   find_string_submatch(s) -> {match, group...} | nil                          find_all_string_submatch(s) -> list of them
--   find_string_index(s) -> {first, last} | nil                                 find_all_string_index(s) -> list of them
--   replace_all_string(s, with) -> text, $1 and ${name} expanded                split(s, n?) -> texts
--   num_subexp() -> int                 subexp_names() -> names                 string() -> pattern
-- A group that took no part is "". Texts and patterns are bounded: beyond that kind Invalid.
local rt = ...
local rawtype, host, charge = rt.raw.type, rt.host, rt.charge
local CLASS <const> = "text.Regexp"

local methods = {}
local new = rt.class(CLASS, methods, { tostring = function(self) return rt.state(self, CLASS).pattern end })

-- check(self, s, name) -> state of the expression; what is searched is paid for
local function check(self, text, name)
  local state = rt.state(self, CLASS)
  if not state then rt.typeerror(1, name, "Regexp", self, 1) end
  if rawtype(text) ~= "string" then rt.typeerror(1, name, "string", text, 1) end
  charge(#text // 4 + 100)
  return state
end

-- Finding every match may scan the text again and again; the host says how many bytes it came to.
local function counted(answer, problem)
  if not answer then return nil, problem end
  charge(answer[1] // 8)
  return answer[2]
end

function methods.match_string(self, text)
  return host("regexp.match", check(self, text, "match_string").pattern, text)
end

function methods.find_string(self, text)
  local found, problem = host("regexp.find", check(self, text, "find_string").pattern, text)
  if not found then return nil, problem end
  return found[3][1]
end

function methods.find_string_submatch(self, text)
  local found, problem = host("regexp.find", check(self, text, "find_string_submatch").pattern, text)
  if not found then return nil, problem end
  return found[3]
end

function methods.find_string_index(self, text)
  local found, problem = host("regexp.find", check(self, text, "find_string_index").pattern, text)
  if not found then return nil, problem end
  return { found[1], found[2] }
end

function methods.find_all_string(self, text)
  return counted(host("regexp.find_all", check(self, text, "find_all_string").pattern, text))
end

function methods.find_all_string_submatch(self, text)
  return counted(host("regexp.find_all_groups", check(self, text, "find_all_string_submatch").pattern, text))
end

function methods.find_all_string_index(self, text)
  return counted(host("regexp.find_all_index", check(self, text, "find_all_string_index").pattern, text))
end

function methods.replace_all_string(self, text, with)
  local state = check(self, text, "replace_all_string")
  if rawtype(with) ~= "string" then
    rt.typeerror(2, "replace_all_string", "string", with)
  end
  return counted(host("regexp.replace", state.pattern, text, with))
end

function methods.split(self, text, most)
  local state = check(self, text, "split")
  local n = most == nil and -1 or rawtype(most) == "number" and rt.raw.math.tointeger(most)
  if not n then rt.typeerror(2, "split", "integer", most) end
  return counted(host("regexp.split", state.pattern, text, n))
end

function methods.num_subexp(self) return check(self, "", "num_subexp").groups end

function methods.subexp_names(self)
  local names = check(self, "", "subexp_names").names
  return rt.raw.table.move(names, 1, #names, 1, {})
end

function methods.string(self) return check(self, "", "string").pattern end

local function compile(pattern)
  if rawtype(pattern) ~= "string" then return rt.fail("Invalid", "regexp.compile: expected a string") end
  charge(#pattern * 20 + 1000)
  local found, problem = host("regexp.compile", pattern)
  if not found then return nil, problem end
  return new({ pattern = pattern, groups = found[1], names = found[2] })
end

return rt.readonly("text", { regexp = rt.readonly("text.regexp", { compile = compile }) })
