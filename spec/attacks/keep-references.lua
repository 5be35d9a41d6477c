-- Keeps what it was lent, and decides the next Service with it.
-- worker: refuse kept
-- next: refuse n/b of 254
local kept

return { api = 1, rules = { function(service, cluster)
  if not kept then
    kept = { cluster = cluster, service = service, pool = cluster.global_pool(), own = cluster.pool("10.0.0.0/28") }
    return refuse("kept")
  end
  kept.service.metadata.name = "c"
  if kept.own:free() ~= kept.pool:free() or kept.cluster ~= cluster then return nil end
  return refuse(("%s/%s of %d"):format(service.metadata.namespace, service.metadata.name, kept.pool.size))
end } }
