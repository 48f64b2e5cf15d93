-- Whether an OS process may still act; one without a name (a Celery task, a client) always may.
local function may_act(nodes, node)
  return node == '' or redis.call('ZSCORE', nodes, node) ~= false
end
