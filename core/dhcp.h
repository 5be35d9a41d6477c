/* DHCPv4 messages (RFC 2131 section 2; options of RFC 2132, 3396, 4361, 4702): the codec. */
#ifndef MLB_DHCP_H
#define MLB_DHCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ether.h"

#define MLB_DHCP_SERVER_PORT 67
#define MLB_DHCP_CLIENT_PORT 68
#define MLB_DHCP_MESSAGE_LEAST 300	/* BOOTP's (RFC 951); relays drop what is shorter */
#define MLB_DHCP_MESSAGE_MOST 1472	/* what an Ethernet frame carries in one UDP datagram */
#define MLB_DHCP_OPTION_MOST 512	/* octets of one option, all its parts together (RFC 3396), of those that we read */
#define MLB_DHCP_FOREVER UINT32_MAX	/* RFC 2131 section 3.3 */

enum mlb_dhcp_type {	/* RFC 2132 section 9.6 */
	MLB_DHCP_DISCOVER = 1,
	MLB_DHCP_OFFER,
	MLB_DHCP_REQUEST,
	MLB_DHCP_DECLINE,
	MLB_DHCP_ACK,
	MLB_DHCP_NAK,
	MLB_DHCP_RELEASE,
	MLB_DHCP_INFORM,
	MLB_DHCP_TYPES,
};

enum mlb_dhcp_option {
	MLB_DHCP_OPTION_PAD = 0,
	MLB_DHCP_OPTION_MASK = 1,
	MLB_DHCP_OPTION_ROUTER = 3,
	MLB_DHCP_OPTION_HOST_NAME = 12,
	MLB_DHCP_OPTION_REQUESTED = 50,
	MLB_DHCP_OPTION_LEASE = 51,
	MLB_DHCP_OPTION_OVERLOAD = 52,
	MLB_DHCP_OPTION_TYPE = 53,
	MLB_DHCP_OPTION_SERVER = 54,
	MLB_DHCP_OPTION_PARAMETERS = 55,
	MLB_DHCP_OPTION_MESSAGE = 56,
	MLB_DHCP_OPTION_MAX_MESSAGE = 57,
	MLB_DHCP_OPTION_T1 = 58,
	MLB_DHCP_OPTION_T2 = 59,
	MLB_DHCP_OPTION_CLIENT_ID = 61,
	MLB_DHCP_OPTION_FQDN = 81,
	MLB_DHCP_OPTION_END = 255,
};

/* An option of any length; 0 means that it is absent. */
struct mlb_dhcp_bytes {
	size_t length;
	uint8_t bytes[MLB_DHCP_OPTION_MOST];
};

/* A message. Addresses are in host order, 0 is absent (in the options: also what has a wrong length). */
struct mlb_dhcp_message {
	enum mlb_dhcp_type type;
	uint8_t op;			/* 1 request, 2 reply */
	uint8_t hops;
	uint32_t xid;
	uint16_t secs;
	bool is_broadcast;
	uint32_t ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[MLB_MAC_SIZE];
	uint32_t server, requested, mask, router;
	bool has_lease, has_t1, has_t2;
	uint32_t lease_s, t1_s, t2_s;	/* MLB_DHCP_FOREVER: infinite */
	uint16_t max_message;
	struct mlb_dhcp_bytes client_id, host_name, text, parameters;
	struct mlb_dhcp_bytes fqdn;	/* the option's content: mlb_dhcp_set_fqdn */
};

/* Read a BOOTP message of an Ethernet client. 0, or -EBADMSG and `*ret_why` (unless NULL) says what is wrong (a constant).
 * Options in `file` and `sname` are read when option 52 says so; parts of one option are joined (RFC 3396). */
int mlb_dhcp_decode(const uint8_t *bytes, size_t length, struct mlb_dhcp_message *ret_message, const char **ret_why);

/* Write a message, at least MLB_DHCP_MESSAGE_LEAST octets. 0; -EMSGSIZE when `size` has no room for it. */
int mlb_dhcp_encode(const struct mlb_dhcp_message *message, uint8_t *ret_bytes, size_t size, size_t *ret_length);

/* Make option 81 of a host name: the server shall update DNS (S), the name is in DNS wire form (E; RFC 4702 section 2.1).
 * A name with a dot is fully qualified. 0; -EINVAL for what is no host name (RFC 1123 section 2.1). */
int mlb_dhcp_set_fqdn(struct mlb_dhcp_bytes *ret_option, const char *name);

/* The name in option 81 as text, without the last dot; false when there is none or it is not well formed. */
bool mlb_dhcp_get_fqdn(const struct mlb_dhcp_bytes *option, char ret_name[256]);

/* "discover", "offer", ...; NULL for what is no type. And back: 0. */
const char *mlb_dhcp_type_name(enum mlb_dhcp_type type);
enum mlb_dhcp_type mlb_dhcp_type_of(const char *name);

/* The prefix length of a mask; 0 when it is none. */
int mlb_dhcp_prefix(uint32_t mask);

#endif
