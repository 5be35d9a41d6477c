/* libFuzzer: a DHCPv6 client on a LAN where everybody is hostile. The input is a script: each step lets time pass and then
 * sends a frame (whole, or an answer that fits the transaction, with fields from the input), or tells the client something.
 * Whatever comes: what it sends is well formed, what it binds is a host's address, it never holds a lease past its end, it
 * always has something to wait for, and it does not send without bound. */
#include "../../core/dhcp6_client.c"

#include "../../core/address.h"

#define STEPS 60

struct script {
	const uint8_t *at, *end;
};

struct world {
	struct mlb_dhcp6_client *client;
	int64_t now;
	uint32_t xid;			/* of what it sent last */
	size_t sent;
	struct mlb_dhcp6_actions actions;
};

static const uint8_t mac[MLB_MAC_SIZE] = { 2, 0, 0x5e, 0, 0x53, 1 };
static const uint8_t duid[18] = { 0, 4, 1, 2, 3 };

static void check(bool holds)
{
	if (!holds)
		abort();
}

static uint32_t take(struct script *script, unsigned octets)
{
	uint32_t value = 0;

	while (octets-- > 0)
		value = value << 8 | (script->at < script->end ? *script->at++ : 0);
	return value;
}

static void check_sent(struct world *world, const struct mlb_dhcp6_action *action)
{
	struct mlb_datagram6 datagram;
	struct mlb_dhcp6_message message;

	check(mlb_datagram6_unwrap(action->frame, action->length, &datagram, NULL) == 0);
	check(mlb_dhcp6_decode(datagram.payload, datagram.length, NULL, &message, NULL) == 0);
	check(datagram.source_port == 546 && datagram.destination_port == 547);
	check(message.type != MLB_DHCP6_ADVERTISE && message.type != MLB_DHCP6_REPLY && message.has_ia);
	check(message.client.length == 18 && memcmp(message.client.bytes, duid, sizeof(duid)) == 0);
	check(message.type == MLB_DHCP6_SOLICIT || message.naddresses == 1);
	check((message.server.length > 0) == (message.type == MLB_DHCP6_REQUEST || message.type == MLB_DHCP6_RENEW ||
					      message.type == MLB_DHCP6_RELEASE || message.type == MLB_DHCP6_DECLINE));
	world->xid = message.xid;
	world->sent++;
}

static void check_lease(const struct mlb_dhcp6_lease *lease)
{
	const struct mlb_address address = mlb_address_from_bytes(6, &lease->address);

	check(mlb_address_kind(&address) == MLB_UNICAST && lease->server.length > 0);
	check(lease->at <= lease->t1 && lease->t1 <= lease->t2 && lease->t2 <= lease->expires);
}

static void check_actions(struct world *world)
{
	const struct mlb_dhcp6_lease *held = mlb_dhcp6_client_lease(world->client);
	enum mlb_dhcp6_state state = mlb_dhcp6_client_state(world->client);
	int64_t deadline = mlb_dhcp6_client_deadline(world->client);

	for (size_t i = 0; i < world->actions.count; i++) {
		const struct mlb_dhcp6_action *action = &world->actions.items[i];

		if (action->type == MLB_DHCP6_SEND)
			check_sent(world, action);
		else if (action->type == MLB_DHCP6_GRANTED)
			check_lease(&action->lease);
		else if (action->type == MLB_DHCP6_CHECK)
			check(state == MLB_DHCP6_CHECKING);
		else
			check(memchr(action->text, '\0', sizeof(action->text)) != NULL && action->text[0]);
	}
	if (state == MLB_DHCP6_BOUND)
		check(held != NULL);
	else if (state != MLB_DHCP6_CHECKING && state != MLB_DHCP6_ENDED)
		check(deadline != MLB_DHCP6_NEVER);
	world->actions.count = 0;
}

/* Let time pass as a loop would: with a tick at each deadline. Each tick either moves on or sends, at most once a half second. */
static void pass(struct world *world, int64_t milliseconds)
{
	int64_t until = world->now + milliseconds;

	for (int ticks = 0; mlb_dhcp6_client_deadline(world->client) <= until && ticks < 12; ticks++) {
		const struct mlb_dhcp6_lease *held;
		int64_t deadline = mlb_dhcp6_client_deadline(world->client);

		world->now = deadline > world->now ? deadline : world->now;
		mlb_dhcp6_client_tick(world->client, world->now, &world->actions);
		check_actions(world);
		check(mlb_dhcp6_client_deadline(world->client) > world->now);
		held = mlb_dhcp6_client_lease(world->client);
		check(!held || held->expires > world->now || mlb_dhcp6_client_state(world->client) == MLB_DHCP6_CHECKING);
	}
	world->now = until > world->now ? until : world->now;
}

static void receive(struct world *world, const uint8_t *frame, size_t length)
{
	size_t before = world->sent;

	mlb_dhcp6_client_receive(world->client, world->now, frame, length, &world->actions);
	check_actions(world);
	check(world->sent - before <= 1);
}

/* An answer as the script says. Fields that are most often right are wrong for certain bits of `how`. */
static void answer(struct world *world, struct script *script)
{
	static uint8_t bytes[MLB_DHCP6_MESSAGE_MOST], frame[MLB_DHCP6_FRAME];
	uint32_t how = take(script, 2);
	struct mlb_dhcp6_message message = {
		.type = how & 1 ? MLB_DHCP6_REPLY : MLB_DHCP6_ADVERTISE,
		.xid = how & 2 ? take(script, 3) : world->xid,
		.client = { sizeof(duid), { 0 } },
		.server = { 4, { 0, 3, (uint8_t)(how & 4), 1 } },
		.preference = how & 8 ? 255 : 0,
		.status = how & 16 ? take(script, 1) % 7 : 0,
		.has_ia = !(how & 32),
		.iaid = how & 64 ? 8 : 7,
		.ia_status = how & 128 ? take(script, 1) % 7 : 0,
		.naddresses = (how >> 8 & 3) == 3 ? 0 : 1 + (how >> 8 & 3),
		.solicit_max_s = how & 1024 ? take(script, 4) : 0,
	};
	struct mlb_datagram6 datagram = { .source_port = 547, .destination_port = 546, .payload = bytes };
	unsigned width = how & 2048 ? 4 : 1;
	size_t length;

	memcpy(message.client.bytes, duid, sizeof(duid));
	message.t1_s = take(script, width);
	message.t2_s = take(script, width);
	for (size_t i = 0; i < message.naddresses; i++) {
		struct mlb_dhcp6_address *each = &message.addresses[i];

		each->address.s6_addr[0] = 0xfd;
		each->address.s6_addr[15] = (uint8_t)(how & 4096 ? take(script, 1) : i + 1);
		if (how & 8192)
			each->address.s6_addr[0] = (uint8_t)take(script, 1);
		each->preferred_s = take(script, width);
		each->valid_s = take(script, width);
	}
	memcpy(datagram.destination_mac, mac, MLB_MAC_SIZE);
	datagram.source_mac[0] = 2;
	check(mlb_dhcp6_encode(&message, bytes, sizeof(bytes), &datagram.length) == 0);
	check(mlb_datagram6_wrap(&datagram, frame, sizeof(frame), &length) == 0);
	receive(world, frame, length);
}

static void step(struct world *world, struct script *script)
{
	static uint8_t frame[MLB_DHCP6_FRAME];
	uint32_t what = take(script, 1);
	size_t length;

	pass(world, (int64_t)take(script, 1) << (what >> 4));
	switch (what & 15) {
	case 0:
		mlb_dhcp6_client_link_up(world->client, world->now, &world->actions);
		break;
	case 1:
		mlb_dhcp6_client_release(world->client, world->now, &world->actions);
		break;
	case 2:
		length = take(script, 2) % sizeof(frame);
		length = length < (size_t)(script->end - script->at) ? length : (size_t)(script->end - script->at);
		memcpy(frame, script->at, length);
		script->at += length;
		receive(world, frame, length);
		break;
	case 3:
	case 4:
	case 5:
		mlb_dhcp6_client_checked(world->client, world->now, (what & 15) != 3, &world->actions);
		break;
	case 6:
		mlb_dhcp6_client_tick(world->client, world->now, &world->actions);
		break;
	default:
		answer(world, script);
		break;
	}
	check_actions(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world world;
	struct script script = { data, data + size };
	struct mlb_dhcp6_options options = { .seed = take(&script, 1), .duid = { sizeof(duid), { 0 } }, .iaid = 7 };
	uint32_t how = take(&script, 1);

	memcpy(options.mac, mac, MLB_MAC_SIZE);
	memcpy(options.duid.bytes, duid, sizeof(duid));
	options.source = mlb_link_local(mac);
	options.requested.s6_addr[0] = how & 2 ? 0xfd : 0;
	options.has_lease = how & 4;
	options.lease.address = (struct in6_addr){ .s6_addr = { 0xfd, [15] = 1 } };
	options.lease.server.length = 4;
	options.lease.server.bytes[1] = 3;
	if (how & 16) {
		options.lease.at = 999000;
		options.lease.t1 = 1010000;
		options.lease.t2 = 1020000;
		options.lease.expires = 1000000 + (int64_t)(how >> 5) * 10000 + 20001;
	}
	memset(&world, 0, offsetof(struct world, actions));
	world.actions.count = 0;
	world.now = 1000000;
	world.client = mlb_dhcp6_client_new(&options);
	check(world.client != NULL);
	mlb_dhcp6_client_start(world.client, world.now, &world.actions);
	check_actions(&world);
	for (int i = 0; i < STEPS && script.at < script.end; i++)
		step(&world, &script);
	free(world.client);
	return 0;
}
