-- What a script sees: its globals, and the functions that Rust calls to run it.
--
-- Scripts get nothing of the interpreter's own globals. Their environment is an empty table whose reads go to a table of
-- what they may use, and whose writes fail. Libraries are handed out as userdata that only forward reads, so that no
-- rawset, table.insert or metatable can change what the next script finds. Nothing here may depend on memory addresses,
-- clocks, or on what ran before: every replica must compute the same.

local host = ...
local assert, collectgarbage, error, getmetatable, ipairs, next, pairs, pcall, rawget, rawset, select, setfenv,
  setmetatable, tonumber, tostring, type, unpack, xpcall, loadstring, newproxy =
  assert, collectgarbage, error, getmetatable, ipairs, next, pairs, pcall, rawget, rawset, select, setfenv,
  setmetatable, tonumber, tostring, type, unpack, xpcall, loadstring, newproxy
local find, format, lower, match, sub = string.find, string.format, string.lower, string.match, string.sub
local charge = host.charge

-- Protected tables ---------------------------------------------------------------------------------------------------

-- The table behind each userdata that stands for one.
local behind = setmetatable({}, { __mode = 'k' })

local function refuse_change()
  error('Attempt to modify a readonly table', 2)
end

local frozen
local function protect(t)
  local proxy = newproxy(true)
  local meta = getmetatable(proxy)
  meta.__index, meta.__newindex, meta.__metatable = t, refuse_change, frozen
  behind[proxy] = t
  return proxy
end
frozen = protect({})

local function no_such_global(_, name)
  if type(name) ~= 'string' and type(name) ~= 'number' then
    error('Second argument to luaProtectedTableError must be a string or number', 2)
  end
  error("Script attempted to access nonexistent global variable '" .. name .. "'", 2)
end

local function environment(globals)
  local meta = { __index = setmetatable(globals, { __index = no_such_global }), __newindex = refuse_change }
  meta.__metatable = frozen
  globals._G = protect(globals)
  return setmetatable({}, meta), meta
end

-- Errors -------------------------------------------------------------------------------------------------------------

-- An error as redis.pcall returns it. `text` begins with a code behind a minus sign, or it is an ERR.
local function error_table(text)
  local code, rest = 'ERR', text
  if sub(text, 1, 1) == '-' then
    local at = find(text, ' ', 1, true)
    if at then
      code, rest = sub(text, 2, at - 1), sub(text, at + 1)
    else
      rest = sub(text, 2)
    end
  end
  return { err = code .. ' ' .. match(rest, '^[\r\n]*(.-)[\r\n]*$') }
end

-- Sees an error that nothing caught, where it was raised: notes the place.
local function handler(err)
  local source, line = host.where()
  if type(err) ~= 'table' then
    err = { err = 'ERR ' .. tostring(err) }
  end
  if source then
    rawset(err, 'source', source)
    rawset(err, 'line', line)
  end
  return err
end

-- A function that says first whether it succeeded becomes one that raises its errors, with the script's line.
local raising = host.raising

-- A library function of Rust with any number of results, in a table.
local function many(f)
  return raising(function(...)
    local ok, values, count = f(...)
    if ok then
      return true, unpack(values, 1, count)
    end
    return false, values
  end)
end

-- The built-in functions ---------------------------------------------------------------------------------------------

local function copy(t)
  local all = {}
  for key, value in pairs(t) do
    all[key] = value
  end
  return all
end

-- Functions whose work grows with their arguments are charged by that.
local charged, checked = host.charged, host.checked

local string_library = copy(string)
for _, name in ipairs({ 'find', 'match', 'gmatch', 'gsub' }) do
  string_library[name] = charged(string[name], 'pattern')
end
string_library.gfind = string_library.gmatch
string_library.rep = charged(string.rep, 'times')
-- What `("x"):rep(3)` finds; getmetatable('') shows nothing of it.
local string_meta = getmetatable('')
string_meta.__index, string_meta.__metatable = string_library, frozen

local table_library = copy(table)
table_library.sort, table_library.concat = charged(table.sort, 'sort'), charged(table.concat, 'length')
local concat = table.concat

local math_library = copy(math)
local floor = math.floor
local function integer_argument(value, number, name)
  local n = tonumber(value)
  if not n then
    local got = value == nil and 'no value' or type(value)
    return nil, format("bad argument #%d to '%s' (number expected, got %s)", number, name, got)
  end
  return n < 0 and -floor(-n) or floor(n)
end
math_library.random = raising(function(...)
  local count, r = select('#', ...), host.random()
  if count == 0 then
    return true, r
  elseif count > 2 then
    return false, 'wrong number of arguments'
  end
  local low, high, err = 1, nil, nil
  if count == 2 then
    low, err = integer_argument((...), 1, 'random')
  end
  if not err then
    high, err = integer_argument(select(count, ...), count, 'random')
  end
  if err then
    return false, err
  elseif low > high then
    return false, format("bad argument #%d to 'random' (interval is empty)", count)
  end
  return true, floor(r * (high - low + 1)) + low
end)
math_library.randomseed = raising(function(seed)
  local n, err = integer_argument(seed, 1, 'randomseed')
  if err then
    return false, err
  end
  host.randomseed(n)
  return true
end)

-- Addresses differ between replicas: objects are numbered in the order in which a script asks.
local null = host.null
local numbers, numbered = nil, 0
local function script_tostring(...)
  local value = ...
  local kind = type(value)
  if kind == 'table' or kind == 'function' or kind == 'thread' or kind == 'userdata' then
    if rawget(behind, value) then
      kind = 'table'
    elseif value == null then
      return 'userdata: (nil)'
    elseif kind == 'userdata' or (kind == 'table' and (getmetatable(value) or host).__tostring) then
      return tostring(value)
    end
    numbers = numbers or setmetatable({}, { __mode = 'k' })
    local number = numbers[value]
    if not number then
      numbered = numbered + 1
      number = numbered
      numbers[value] = number
    end
    return format('%s: 0x%08x', kind, number)
  end
  return tostring(...)
end

-- As in Redis, an error that redis.call raised is caught as its text.
local function after_pcall(ok, err, ...)
  if ok then
    return true, err, ...
  end
  if type(err) == 'table' then
    local text = err.err
    if type(text) == 'string' or type(text) == 'number' then
      return false, text
    end
  elseif type(err) == 'userdata' and not behind[err] and err ~= null then
    return false, tostring(err)
  end
  return false, err
end

-- Each thread counts its instructions anew; what a short one does is paid for in advance.
local THREAD_COST = host.THREAD_COST
local coroutine_library = copy(coroutine)
local function charge_thread()
  charge(THREAD_COST)
end
coroutine_library.create = checked(coroutine.create, charge_thread)
coroutine_library.wrap = checked(coroutine.wrap, charge_thread)

-- The environment of what is loaded while a script runs: that of the script.
local current_environment
local function load_text(text, name)
  if sub(text, 1, 1) == '\27' then
    return true, nil, 'attempt to load a binary chunk'
  end
  charge(#text)
  -- The compiler loses hold of the chunk's name, which must not be collected meanwhile (CVE-2025-49844).
  collectgarbage('stop')
  local f, err = loadstring(text, name)
  collectgarbage('restart')
  return true, f and setfenv(f, current_environment), err
end

-- As many as fit on the stack that Lua has for them. It counts them itself, too late: in an int, which may overflow
-- (CVE-2025-46817).
local UNPACKED_MAX = 8000
local function refuse_many(t, first, last)
  if type(t) == 'table' and not ((tonumber(last) or #t) - (tonumber(first) or 1) < UNPACKED_MAX) then
    return 'too many results to unpack'
  end
end

local function refuse_protected(t)
  if behind[t] then
    return 'Attempt to modify a readonly table'
  end
end

local BUILTINS = {
  _VERSION = _VERSION,
  assert = assert,
  -- What they would say differs between replicas.
  collectgarbage = function()
    return 0
  end,
  gcinfo = function()
    return 0, 0
  end,
  error = error,
  getmetatable = getmetatable,
  ipairs = ipairs,
  load = raising(function(reader, name)
    if type(reader) ~= 'function' then
      return false, "bad argument #1 to 'load' (function expected, got " .. type(reader) .. ')'
    end
    local parts, piece = {}, reader()
    while type(piece) == 'string' and piece ~= '' do
      parts[#parts + 1] = piece
      piece = reader()
    end
    return load_text(concat(parts), name or '=(load)')
  end),
  loadstring = raising(function(text, name)
    if type(text) ~= 'string' then
      return false, "bad argument #1 to 'loadstring' (string expected, got " .. type(text) .. ')'
    end
    return load_text(text, name)
  end),
  next = next,
  pairs = pairs,
  pcall = function(...)
    return after_pcall(pcall(...))
  end,
  rawequal = rawequal,
  rawget = rawget,
  rawset = checked(rawset, refuse_protected),
  select = select,
  setmetatable = checked(setmetatable, function(t, meta)
    -- What is in a weak table depends on when the collector comes by.
    if type(meta) == 'table' and rawget(meta, '__mode') then
      return 'weak tables are not supported'
    end
    return refuse_protected(t)
  end),
  tonumber = tonumber,
  tostring = script_tostring,
  type = type,
  unpack = checked(unpack, refuse_many),
  xpcall = xpcall,
  coroutine = protect(coroutine_library),
  math = protect(math_library),
  os = protect({ clock = host.clock }),
  string = protect(string_library),
  table = protect(table_library),
}

for name, functions in pairs(host.libraries) do
  local library = {}
  for key, f in pairs(functions.one) do
    library[key] = raising(f)
  end
  for key, f in pairs(functions.many) do
    library[key] = many(f)
  end
  for key, value in pairs(functions.values) do
    library[key] = value
  end
  BUILTINS[name] = protect(library)
end

-- redis --------------------------------------------------------------------------------------------------------------

-- More arguments than this go in a table: each one that is handed over by itself takes a place on a small stack.
local ARGUMENTS_MAX = 256
local raw_call, raw_call_many = host.call, host.call_many

local function dispatch(...)
  if select('#', ...) <= ARGUMENTS_MAX then
    return raw_call(...)
  end
  return raw_call_many({ ... }, select('#', ...))
end

local API = {}

API.call = raising(dispatch)

function API.pcall(...)
  local _, value = dispatch(...)
  return value
end

local function refused(text)
  return false, error_table(text)
end

API.sha1hex = raising(function(...)
  if select('#', ...) ~= 1 then
    return refused('wrong number of arguments')
  end
  return true, host.sha1hex(...)
end)

function API.error_reply(...)
  if select('#', ...) ~= 1 or type(...) ~= 'string' then
    return error_table('wrong number or type of arguments')
  end
  local text = ...
  return error_table(sub(text, 1, 1) == '-' and text or '-' .. text)
end

function API.status_reply(...)
  if select('#', ...) ~= 1 or type(...) ~= 'string' then
    return error_table('wrong number or type of arguments')
  end
  return { ok = (...) }
end

API.setresp = raising(function(...)
  if select('#', ...) ~= 1 then
    return refused('redis.setresp() requires one argument.')
  end
  local version = tonumber((...)) or 0
  if version ~= 2 and version ~= 3 then
    return refused('RESP version must be 2 or 3.')
  end
  host.setresp(version)
  return true
end)

API.REPL_NONE, API.REPL_AOF, API.REPL_SLAVE, API.REPL_REPLICA, API.REPL_ALL = 0, 1, 2, 2, 3
API.set_repl = raising(function(...)
  if select('#', ...) ~= 1 then
    return refused('redis.set_repl() requires two arguments.')
  end
  local flags = tonumber((...)) or 0
  if flags < 0 or flags > 3 then
    return refused('Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.')
  end
  -- A script is replicated as such, and all that it does with it.
  return true
end)

API.acl_check_cmd = raising(function(...)
  if select('#', ...) == 0 then
    return refused('Please specify at least one argument for this redis lib call')
  end
  local may = host.may_call(...)
  if may == nil then
    return refused('Invalid command passed to redis.acl_check_cmd()')
  end
  return true, may
end)

local LOG = { LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3 }
LOG.log = raising(function(...)
  local count, level = select('#', ...), ...
  if count < 2 then
    return refused('redis.log() requires two arguments or more.')
  elseif not tonumber(level) then
    return refused('First argument must be a number (log level).')
  end
  level = floor(tonumber(level))
  if level < 0 or level > 3 then
    return refused('Invalid debug level.')
  end
  local parts = {}
  for i = 2, count do
    local part = select(i, ...)
    if type(part) == 'string' or type(part) == 'number' then
      parts[#parts + 1] = part
    end
  end
  host.log(level, concat(parts, ' '))
  return true
end)
LOG.REDIS_VERSION, LOG.REDIS_VERSION_NUM = host.REDIS_VERSION, host.REDIS_VERSION_NUM

local function with(...)
  local all = {}
  for _, part in ipairs({ ... }) do
    for key, value in pairs(part) do
      all[key] = value
    end
  end
  return all
end

-- Scripts ------------------------------------------------------------------------------------------------------------

local script_globals = with(BUILTINS, {
  redis = protect(with(API, LOG, {
    breakpoint = function()
      return false
    end,
    debug = function() end,
    replicate_commands = function()
      return true
    end,
  })),
})
local script_environment = environment(script_globals)

-- Compiled scripts, by number.
local scripts = {}

-- Calls `f`, which may fail: whether it did not, and its result or its error with the place of it.
local function run(f)
  numbers, numbered = nil, 0
  return xpcall(f, handler)
end

local function run_script(number, keys, args)
  current_environment = script_environment
  script_globals.KEYS, script_globals.ARGV = keys, args
  local ok, value = run(scripts[number])
  script_globals.KEYS, script_globals.ARGV = nil, nil
  return ok, value
end

-- Libraries of functions ---------------------------------------------------------------------------------------------

local function_globals = with(BUILTINS, { redis = protect(with(API, LOG)) })
local function_environment, function_meta = environment(function_globals)

-- Where functions are registered while a library's own code runs.
local registering

local function fail(text)
  error(error_table(text))
end

local FLAGS = { ['no-writes'] = true, ['allow-oom'] = true, ['allow-stale'] = true, ['no-cluster'] = true,
  ['allow-cross-slot-keys'] = true }

local function read_flags(list)
  local flags, i = {}, 1
  while list[i] ~= nil do
    local flag = list[i]
    if type(flag) ~= 'string' or not FLAGS[lower(flag)] then
      fail('unknown flag given')
    end
    flags[i] = lower(flag)
    i = i + 1
  end
  return flags
end

local function read_named(named)
  if type(named) ~= 'table' then
    fail('calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).')
  end
  local given = { flags = {} }
  for key, value in pairs(named) do
    if type(key) ~= 'string' and type(key) ~= 'number' then
      fail('named argument key given to redis.register_function is not a string')
    end
    key = lower(key)
    if key == 'function_name' or key == 'description' then
      if type(value) ~= 'string' and type(value) ~= 'number' then
        fail(key .. ' argument given to redis.register_function must be a string')
      end
      given[key] = tostring(value)
    elseif key == 'callback' then
      if type(value) ~= 'function' then
        fail('callback argument given to redis.register_function must be a function')
      end
      given.callback = value
    elseif key == 'flags' then
      if type(value) ~= 'table' then
        fail('flags argument to redis.register_function must be a table representing function flags')
      end
      given.flags = read_flags(value)
    else
      fail('unknown argument given to redis.register_function')
    end
  end
  if not given.function_name then
    fail('redis.register_function must get a function name argument')
  end
  if not given.callback then
    fail('redis.register_function must get a callback argument')
  end
  return given
end

local function read_positional(name, callback)
  if type(name) ~= 'string' and type(name) ~= 'number' then
    fail('first argument to redis.register_function must be a string')
  end
  if type(callback) ~= 'function' then
    fail('second argument to redis.register_function must be a function')
  end
  return { function_name = tostring(name), callback = callback, flags = {} }
end

local function register_function(...)
  local count = select('#', ...)
  if not registering then
    fail('redis.register_function can only be called on FUNCTION LOAD command')
  end
  if count < 1 or count > 2 then
    fail('wrong number of arguments to redis.register_function')
  end
  local given = count == 1 and read_named(...) or read_positional(...)
  local name = given.function_name
  if not find(name, '^[%w_]+$') then
    fail('Library names can only contain letters, numbers, or underscores(_) and must be at least one character long')
  end
  if registering[name] then
    fail('Function already exists in the library')
  end
  registering[name] = given
end

local loading_globals = setmetatable({
  redis = protect(setmetatable(with(LOG, { register_function = register_function }), { __index = no_such_global })),
}, { __index = no_such_global })

-- The code of libraries, by number.
local libraries = {}

-- Runs a library's own code; afterwards `registering` holds its functions. Nothing it left behind is kept: a library is
-- the same at every call.
local function instantiate(number)
  registering = {}
  numbers, numbered = nil, 0
  current_environment = function_environment
  function_meta.__index = loading_globals
  local ok, err = pcall(libraries[number])
  function_meta.__index = function_globals
  local found = registering
  registering = nil
  if ok then
    return found
  end
  if type(err) == 'table' and (type(err.err) == 'string' or type(err.err) == 'number') then
    return nil, tostring(err.err)
  end
  return nil, 'ERR ' .. tostring(err)
end

local function load_library(number)
  local found, err = instantiate(number)
  if not found then
    return false, err
  end
  local list = {}
  for _, given in pairs(found) do
    list[#list + 1] = given
  end
  return true, list
end

local function run_function(number, name, keys, args)
  local found, err = instantiate(number)
  local given = found and found[name]
  if not given then
    return false, { err = err or 'ERR Function not found' }
  end
  return run(function()
    return given.callback(keys, args)
  end)
end

return {
  scripts = scripts,
  libraries = libraries,
  script_environment = script_environment,
  function_environment = function_environment,
  run_script = run_script,
  run_function = run_function,
  load_library = load_library,
}
