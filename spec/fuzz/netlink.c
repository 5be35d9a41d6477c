/* libFuzzer: one message of rtnetlink. What is accepted must be within the bounds that the structs promise. */
#include "../../core/netlink_parse.c"

#include <stdlib.h>

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_address(const struct mlb_address *address)
{
	check(address->family == 4 || address->family == 6);
	check(address->family == 6 || (address->high == 0 && address->low <= UINT32_MAX));
}

static void check_route(const struct mlb_route *route)
{
	check(route->prefix <= (route->family == 4 ? 32 : 128));
	check_address(&route->destination);
	if (route->has_gateway)
		check_address(&route->gateway);
	if (route->has_source)
		check_address(&route->source);
}

static void check_event(const struct mlb_netlink_event *event)
{
	switch (event->type) {
	case MLB_NETLINK_LINK:
		check(event->link.index > 0 && event->link.index <= INT32_MAX);
		check(memchr(event->link.name, '\0', sizeof(event->link.name)) != NULL);
		check(memchr(event->link.kind, '\0', sizeof(event->link.kind)) != NULL);
		check(memchr(event->link.alias, '\0', sizeof(event->link.alias)) != NULL);
		break;
	case MLB_NETLINK_ADDRESS:
		check_address(&event->address.address);
		check(event->address.prefix <= (event->address.address.family == 4 ? 32 : 128));
		break;
	case MLB_NETLINK_ROUTE:
		check_route(&event->route);
		break;
	case MLB_NETLINK_NEIGHBOUR:
		check_address(&event->neighbour.address);
		break;
	default:
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is a datagram, in memory of exactly its size and aligned as a receive buffer is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mlb_netlink_event event;
	const struct nlmsghdr *header;
	size_t position = 0;
	void *datagram;
	int found;

	if (size == 0 || size > 32768)
		return 0;
	datagram = malloc(size);
	memcpy(datagram, data, size);
	while ((header = mlb_netlink_next_message(datagram, size, &position)) != NULL) {
		found = mlb_netlink_parse(header, &event);
		check(found == 0 || found == 1 || found == -EBADMSG);
		if (found == 1)
			check_event(&event);
	}
	free(datagram);
	return 0;
}
