--- The names under which allocator, announcer and kube-vip meet on a Service.
-- @module moonlb.allocator.fields
return {
  --- Label and value by which kube-vip's announcer knows a Service that an allocator has decided.
  LABEL = "implementation",
  LABEL_VALUE = "kube-vip",

  --- kube-vip's: the addresses, comma separated. A user's request, or what an allocator wrote.
  ADDRESSES = "kube-vip.io/loadbalancerIPs",
  --- kube-vip's: the interface that announces.
  INTERFACE = "kube-vip.io/serviceInterface",
  --- kube-vip's: `"true"` leaves a Service alone.
  IGNORE = "kube-vip.io/ignore",

  --- Ours: `"<addresses> <policy>/<rule>"`, what the allocator wrote last.
  ASSIGNED = "moonlb.io/assigned",
  --- Ours: node names, comma separated, in the order in which the policy wants them.
  PLACE = "moonlb.io/place",
  --- Ours: the DHCP lease; its first word is the leased address.
  LEASE = "moonlb.io/lease",
  --- Ours: addresses that were probed when they were assigned (see `moonlb.announcer.preprobe`).
  PROBED = "moonlb.io/probed",
  --- Ours: addresses that a stranger answered for (see `moonlb.announcer.conflict`).
  CONFLICT = "moonlb.io/conflict",

  --- kube-vip's: the node that announces.
  HOST = "kube-vip.io/vipHost",

  --- The finalizer that kube-vip's provider and other cloud controllers leave on Services.
  FINALIZER = "service.kubernetes.io/load-balancer-cleanup",
  --- The class that kube-vip takes beside an unset one.
  CLASS = "kube-vip.io/kube-vip-class",

  --- What a Service that wants DHCP has instead of an address.
  DHCP = "0.0.0.0",
  --- The same for DHCPv6.
  DHCPV6 = "::",
}
