-- open(user, idle) -> pid of the user's session. Of two calls at once, one starts it and the other finds it.
local function open(user, idle)
  local pid, err = process.with_options({})
    :with_name("session:" .. user)
    :with_message("hello", user)
    :spawn("app.sessions:session", "app:processes", user, idle)
  if err then return nil, err end
  return pid
end
return { open = open }
