/* The messages of a DHCPv4 client: RFC 2131 section 4.4, table 5. */
#include <string.h>

#include "dhcp_client_impl.h"

static const uint8_t parameters[] = {
	MLB_DHCP_OPTION_MASK, MLB_DHCP_OPTION_ROUTER, MLB_DHCP_OPTION_LEASE,
	MLB_DHCP_OPTION_SERVER, MLB_DHCP_OPTION_T1, MLB_DHCP_OPTION_T2,
};

/* What every message has. The client-id is the same in all of them (RFC 2131 section 4.2). */
static void start_message(struct mlb_dhcp_client *client, enum mlb_dhcp_type type, struct mlb_dhcp_message *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->type = type;
	ret->op = 1;
	ret->xid = client->xid;
	memcpy(ret->chaddr, client->options.mac, MLB_MAC_SIZE);
	ret->client_id = client->options.client_id;
}

/* What DISCOVER and REQUEST ask for. RFC 4702 section 3.1: who sends the FQDN sends no host name. */
static void add_wishes(const struct mlb_dhcp_client *client, struct mlb_dhcp_message *message)
{
	message->max_message = client->options.max_message;
	message->fqdn = client->options.fqdn;
	if (message->fqdn.length == 0)
		message->host_name = client->options.host_name;
	message->parameters.length = sizeof(parameters);
	memcpy(message->parameters.bytes, parameters, sizeof(parameters));
}

/* The address was learned from the server's last frame; without one its station is not known, and all get the frame. */
static const uint8_t *station_of(const struct mlb_dhcp_lease *lease)
{
	return mlb_mac_is_station(lease->server_mac) ? lease->server_mac : mlb_mac_broadcast;
}

/* Wrap and count. Options were bounded when the client was made, so that a message always fits. */
static void send_message(struct mlb_dhcp_client *client, const struct mlb_dhcp_message *message, uint32_t source,
			 uint32_t destination, const uint8_t *station, struct mlb_dhcp_actions *actions)
{
	uint8_t bytes[MLB_DHCP_MESSAGE_MOST];
	struct mlb_dhcp_action *action;
	struct mlb_datagram datagram = {
		.source = source,
		.destination = destination,
		.source_port = MLB_DHCP_CLIENT_PORT,
		.destination_port = MLB_DHCP_SERVER_PORT,
		.payload = bytes,
	};

	if (mlb_dhcp_encode(message, bytes, sizeof(bytes), &datagram.length) < 0)
		return;
	memcpy(datagram.source_mac, client->options.mac, MLB_MAC_SIZE);
	memcpy(datagram.destination_mac, station, MLB_MAC_SIZE);
	action = mlb_dhcp_act(actions, MLB_DHCP_SEND);
	mlb_datagram_wrap(&datagram, action->frame, sizeof(action->frame), &action->length);
	client->stats.sent[message->type]++;
}

void mlb_dhcp_send_discover(struct mlb_dhcp_client *client, struct mlb_dhcp_actions *actions)
{
	struct mlb_dhcp_message message;

	start_message(client, MLB_DHCP_DISCOVER, &message);
	add_wishes(client, &message);
	message.secs = client->secs;
	message.is_broadcast = client->options.is_broadcast;
	message.requested = client->options.requested ? client->options.requested : client->wish;
	send_message(client, &message, 0, UINT32_MAX, mlb_mac_broadcast, actions);
}

/* The four kinds of REQUEST: RFC 2131 section 4.3.2. */
void mlb_dhcp_send_request(struct mlb_dhcp_client *client, int64_t now, struct mlb_dhcp_actions *actions)
{
	struct mlb_dhcp_message message;

	start_message(client, MLB_DHCP_REQUEST, &message);
	add_wishes(client, &message);
	message.secs = client->secs;
	client->sent_at = now;
	if (client->state == MLB_DHCP_RENEWING || client->state == MLB_DHCP_REBINDING) {
		bool is_renewal = client->state == MLB_DHCP_RENEWING;

		message.ciaddr = client->lease.address;
		send_message(client, &message, client->lease.address, is_renewal ? client->lease.server : UINT32_MAX,
			     is_renewal ? station_of(&client->lease) : mlb_mac_broadcast, actions);
		return;
	}
	message.is_broadcast = client->options.is_broadcast;
	if (client->state == MLB_DHCP_REBOOTING) {
		message.requested = client->lease.address;
	} else {
		message.requested = client->pending.address;
		message.server = client->pending.server;
	}
	send_message(client, &message, 0, UINT32_MAX, mlb_mac_broadcast, actions);
}

static void set_text(struct mlb_dhcp_bytes *ret, const char *text)
{
	size_t length = strlen(text);

	ret->length = length < UINT8_MAX ? length : UINT8_MAX;
	memcpy(ret->bytes, text, ret->length);
}

void mlb_dhcp_send_decline(struct mlb_dhcp_client *client, const struct mlb_dhcp_lease *lease,
			   struct mlb_dhcp_actions *actions)
{
	struct mlb_dhcp_message message;

	start_message(client, MLB_DHCP_DECLINE, &message);
	message.requested = lease->address;
	message.server = lease->server;
	set_text(&message.text, "the address is in use");
	send_message(client, &message, 0, UINT32_MAX, mlb_mac_broadcast, actions);
}

void mlb_dhcp_send_release(struct mlb_dhcp_client *client, const struct mlb_dhcp_lease *lease, const char *reason,
			   struct mlb_dhcp_actions *actions)
{
	struct mlb_dhcp_message message;

	start_message(client, MLB_DHCP_RELEASE, &message);
	message.ciaddr = lease->address;
	message.server = lease->server;
	if (reason)
		set_text(&message.text, reason);
	send_message(client, &message, lease->address, lease->server, station_of(lease), actions);
}
