/* libFuzzer: a DHCPv4 client on a LAN where everybody is hostile. The input is a script: each step lets time pass and then
 * sends a frame (whole, or an answer that fits the transaction, with fields from the input), or tells the client something.
 * Whatever comes: what it sends is well formed, what it binds is a host's address, it never holds a lease past its end, it
 * always has something to wait for, and it does not send without bound. */
#include "../../core/dhcp_client.c"

#include "../../core/address.h"
#include "../../core/octets.h"

#define STEPS 60

struct script {
	const uint8_t *at, *end;
};

struct world {
	struct mlb_dhcp_client *client;
	int64_t now;
	uint32_t xid;			/* of what it sent last */
	uint32_t asked;			/* the address it asked for last */
	size_t sent;
	struct mlb_dhcp_actions actions;
};

static const uint8_t mac[MLB_MAC_SIZE] = { 2, 0, 0x5e, 0, 0x53, 1 };

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

static void check_sent(struct world *world, const struct mlb_dhcp_action *action)
{
	struct mlb_datagram datagram;
	struct mlb_dhcp_message message;

	check(mlb_datagram_unwrap(action->frame, action->length, &datagram, NULL) == 0);
	check(mlb_dhcp_decode(datagram.payload, datagram.length, &message, NULL) == 0);
	check(message.op == 1 && memcmp(message.chaddr, mac, MLB_MAC_SIZE) == 0);
	check(memcmp(datagram.source_mac, mac, MLB_MAC_SIZE) == 0);
	check(datagram.destination_port == 67 && datagram.source_port == 68);
	check(message.type != MLB_DHCP_OFFER && message.type != MLB_DHCP_ACK && message.type != MLB_DHCP_NAK);
	check(message.type != MLB_DHCP_REQUEST || message.requested || message.ciaddr);
	world->xid = message.xid;
	world->asked = message.requested ? message.requested : message.ciaddr;
	world->sent++;
}

static void check_lease(const struct mlb_dhcp_lease *lease)
{
	const struct mlb_address address = { .low = lease->address, .family = 4 };

	check(mlb_address_kind(&address) == MLB_UNICAST && lease->address != lease->server);
	check(lease->t1 <= lease->t2 && lease->t2 <= lease->expires && lease->at <= lease->t1);
	check(lease->prefix >= 0 && lease->prefix <= 32);
}

static void check_actions(struct world *world)
{
	const struct mlb_dhcp_lease *held = mlb_dhcp_client_lease(world->client);
	enum mlb_dhcp_state state = mlb_dhcp_client_state(world->client);
	int64_t deadline = mlb_dhcp_client_deadline(world->client);

	check(world->actions.count <= MLB_DHCP_ACTIONS);
	for (size_t i = 0; i < world->actions.count; i++) {
		const struct mlb_dhcp_action *action = &world->actions.items[i];

		if (action->type == MLB_DHCP_SEND)
			check_sent(world, action);
		else if (action->type == MLB_DHCP_GRANTED)
			check_lease(&action->lease);
		else if (action->type == MLB_DHCP_CHECK)
			check(state == MLB_DHCP_CHECKING);
		else
			check(memchr(action->text, '\0', sizeof(action->text)) != NULL && action->text[0]);
	}
	if (state == MLB_DHCP_BOUND)
		check(held != NULL);
	if (state == MLB_DHCP_BOUND || state == MLB_DHCP_ENDED)
		check(deadline == MLB_DHCP_NEVER || deadline > world->now || held);
	else if (state != MLB_DHCP_CHECKING)
		check(deadline != MLB_DHCP_NEVER);
	world->actions.count = 0;
}

/* Let time pass as a loop would: with a tick at each deadline. Each tick either moves on or sends, at most once a half second. */
static void pass(struct world *world, int64_t milliseconds)
{
	int64_t until = world->now + milliseconds;

	for (int ticks = 0; mlb_dhcp_client_deadline(world->client) <= until && ticks < 12; ticks++) {
		const struct mlb_dhcp_lease *held;
		int64_t deadline = mlb_dhcp_client_deadline(world->client);

		world->now = deadline > world->now ? deadline : world->now;
		mlb_dhcp_client_tick(world->client, world->now, &world->actions);
		check_actions(world);
		check(mlb_dhcp_client_deadline(world->client) > world->now);
		held = mlb_dhcp_client_lease(world->client);
		check(!held || held->expires > world->now || mlb_dhcp_client_state(world->client) == MLB_DHCP_CHECKING);
	}
	world->now = until > world->now ? until : world->now;
}

static void receive(struct world *world, const uint8_t *frame, size_t length)
{
	size_t before = world->sent;

	mlb_dhcp_client_receive(world->client, world->now, frame, length, &world->actions);
	check_actions(world);
	check(world->sent - before <= 1);
}

/* An answer as the script says. Fields that are most often right are wrong for certain bits of `how`. */
static void answer(struct world *world, struct script *script)
{
	static uint8_t bytes[MLB_DHCP_MESSAGE_MOST], frame[MLB_DHCP_FRAME];
	uint32_t how = take(script, 2);
	struct mlb_dhcp_message message = {
		.type = (uint8_t[]){ MLB_DHCP_OFFER, MLB_DHCP_ACK, MLB_DHCP_ACK, MLB_DHCP_NAK }[how & 3],
		.op = how & 4 ? take(script, 1) & 3 : 2,
		.xid = how & 8 ? take(script, 4) : world->xid,
		.yiaddr = how & 16 ? take(script, 4) : world->asked ? world->asked : 0x0a4d0032,
		.server = how & 32 ? take(script, 4) : 0x0a4d0001,
		.router = how & 64 ? take(script, 4) : 0x0a4d00fe,
		.mask = how & 128 ? take(script, 4) : 0xffffff00,
		.has_lease = !(how & 256), .has_t1 = how & 512, .has_t2 = how & 1024,
	};
	struct mlb_datagram datagram = { .source = message.server, .destination = UINT32_MAX, .source_port = 67,
					 .destination_port = 68, .payload = bytes };
	size_t length;

	message.lease_s = take(script, how & 2048 ? 4 : 1);
	message.t1_s = take(script, how & 2048 ? 4 : 1);
	message.t2_s = take(script, how & 2048 ? 4 : 1);
	memcpy(message.chaddr, mac, MLB_MAC_SIZE);
	memcpy(datagram.destination_mac, how & 4096 ? mlb_mac_broadcast : mac, MLB_MAC_SIZE);
	mlb_put32(datagram.source_mac, 0x02005e00 | (how & 8192));
	check(mlb_dhcp_encode(&message, bytes, sizeof(bytes), &datagram.length) == 0);
	check(mlb_datagram_wrap(&datagram, frame, sizeof(frame), &length) == 0);
	receive(world, frame, length);
}

static void step(struct world *world, struct script *script)
{
	static uint8_t frame[MLB_DHCP_FRAME];
	uint32_t what = take(script, 1);
	size_t length;

	pass(world, (int64_t)take(script, 1) << (what >> 4));
	switch (what & 15) {
	case 0:
		mlb_dhcp_client_link_up(world->client, world->now, &world->actions);
		break;
	case 1:
		mlb_dhcp_client_release(world->client, world->now, "fuzz", &world->actions);
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
		mlb_dhcp_client_checked(world->client, world->now, (what & 15) != 3, &world->actions);
		break;
	case 6:
		mlb_dhcp_client_tick(world->client, world->now, &world->actions);
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
	struct mlb_dhcp_options options = { .seed = take(&script, 1), .max_message = MLB_DHCP_MESSAGE_MOST,
					    .client_id = { 3, "\1ab" } };
	uint32_t how = take(&script, 1);

	memcpy(options.mac, mac, MLB_MAC_SIZE);
	options.is_broadcast = how & 1;
	options.requested = how & 2 ? 0x0a4d0009 : 0;
	options.has_lease = how & 4;
	options.lease.address = 0x0a4d0032;
	options.lease.server = how & 8 ? 0x0a4d0001 : 0;
	if (how & 16) {
		options.lease.at = 999000;
		options.lease.t1 = 1010000;
		options.lease.t2 = 1020000;
		options.lease.expires = 1000000 + (int64_t)(how >> 5) * 10000 + 20001;
	}
	memset(&world, 0, offsetof(struct world, actions));
	world.actions.count = 0;
	world.now = 1000000;
	world.client = mlb_dhcp_client_new(&options);
	check(world.client != NULL);
	mlb_dhcp_client_start(world.client, world.now, &world.actions);
	check_actions(&world);
	for (int i = 0; i < STEPS && script.at < script.end; i++)
		step(&world, &script);
	free(world.client);
	return 0;
}
