-- unsubscribe: ends what subscribe() began; the channel stays open. Returns the function.
local rt = ...

return function(object) return rt.mailbox.unlisten(object, true) end
