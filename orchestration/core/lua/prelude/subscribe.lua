-- subscribe: the messages of a topic come to a channel of the caller's own. Returns the function.
local rt = ...
local rawtype = rt.raw.type

return function(topic, object)
  if rawtype(topic) ~= "string" then rt.typeerror(1, "subscribe", "string", topic) end
  if not rt.state(object, "channel") then rt.typeerror(2, "subscribe", "channel", object) end
  return rt.mailbox.bind(topic, object)
end
