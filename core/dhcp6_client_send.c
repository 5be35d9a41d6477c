/* The messages of a DHCPv6 client: RFC 8415 sections 18.2.1 to 18.2.8. All of them go to all servers and relays: a server's
 * unicast option is not used (section 21.12 leaves that to the client). */
#include <string.h>

#include "dhcp6_client_impl.h"

/* ff02::1:2, All_DHCP_Relay_Agents_and_Servers (section 7.1), and its Ethernet group (RFC 2464 section 7) */
static const struct in6_addr all_servers = { .s6_addr = { 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2 } };
static const uint8_t all_servers_mac[MLB_MAC_SIZE] = { 0x33, 0x33, 0, 1, 0, 2 };

static void send_message(struct mlb_dhcp6_client *client, const struct mlb_dhcp6_message *message,
			 struct mlb_dhcp6_actions *actions)
{
	uint8_t bytes[MLB_DHCP6_MESSAGE_MOST];
	struct mlb_dhcp6_action *action;
	struct mlb_datagram6 datagram = {
		.source = client->options.source,
		.destination = all_servers,
		.source_port = MLB_DHCP6_CLIENT_PORT,
		.destination_port = MLB_DHCP6_SERVER_PORT,
		.payload = bytes,
	};

	if (mlb_dhcp6_encode(message, bytes, sizeof(bytes), &datagram.length) < 0)
		return;	/* cannot be: the options were bounded when the client was made */
	memcpy(datagram.source_mac, client->options.mac, MLB_MAC_SIZE);
	memcpy(datagram.destination_mac, all_servers_mac, MLB_MAC_SIZE);
	action = mlb_dhcp6_act(actions, MLB_DHCP6_SEND);
	mlb_datagram6_wrap(&datagram, action->frame, sizeof(action->frame), &action->length);
	client->stats.sent[message->type]++;
}

static enum mlb_dhcp6_type type_of(enum mlb_dhcp6_state state)
{
	switch (state) {
	case MLB_DHCP6_REQUESTING:
		return MLB_DHCP6_REQUEST;
	case MLB_DHCP6_CONFIRMING:
		return MLB_DHCP6_CONFIRM;
	case MLB_DHCP6_RENEWING:
		return MLB_DHCP6_RENEW;
	case MLB_DHCP6_REBINDING:
		return MLB_DHCP6_REBIND;
	case MLB_DHCP6_DECLINED:
		return MLB_DHCP6_DECLINE;
	case MLB_DHCP6_RELEASING:
		return MLB_DHCP6_RELEASE;
	default:
		return MLB_DHCP6_SOLICIT;
	}
}

/* The address that the message is about, and the server that it is for; neither may be there. */
static void add_subject(const struct mlb_dhcp6_client *client, struct mlb_dhcp6_message *message)
{
	const struct mlb_dhcp6_lease *lease = &client->pending;
	const struct in6_addr *address;

	if (message->type == MLB_DHCP6_CONFIRM || message->type == MLB_DHCP6_RENEW || message->type == MLB_DHCP6_REBIND)
		lease = &client->lease;
	address = message->type == MLB_DHCP6_SOLICIT ? mlb_dhcp6_wish(client) : &lease->address;
	if (message->type != MLB_DHCP6_SOLICIT && message->type != MLB_DHCP6_CONFIRM && message->type != MLB_DHCP6_REBIND)
		message->server = lease->server;
	message->has_ia = true;
	message->iaid = client->options.iaid;
	if (mlb_dhcp6_is_set(address))
		message->addresses[message->naddresses++].address = *address;
}

void mlb_dhcp6_send(struct mlb_dhcp6_client *client, int64_t now, struct mlb_dhcp6_actions *actions)
{
	struct mlb_dhcp6_message message = { .type = type_of(client->state), .xid = client->xid };
	int64_t elapsed;

	if (client->attempts == 0)
		client->began = now;	/* section 21.9: the first message says 0 */
	elapsed = (now - client->began) / 10;
	message.elapsed_cs = (uint16_t)(elapsed < UINT16_MAX ? elapsed : UINT16_MAX);
	message.client = client->options.duid;
	add_subject(client, &message);
	if (message.type != MLB_DHCP6_CONFIRM && message.type != MLB_DHCP6_DECLINE && message.type != MLB_DHCP6_RELEASE) {
		message.fqdn_length = client->options.fqdn_length;
		memcpy(message.fqdn, client->options.fqdn, message.fqdn_length);
	}
	client->attempts++;
	client->sent_at = now;
	send_message(client, &message, actions);
}
