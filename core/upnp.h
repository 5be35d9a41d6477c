/* Internet gateways that speak UPnP (UPnP Device Architecture 1.1; WANIPConnection:1 and :2, WANIPv6FirewallControl:1): the
 * messages of SSDP and SOAP. miniupnpc's parsers read descriptions and answers; everything read here is hostile: lengths are
 * bounded, what may later stand in a request line or header is checked. Sockets, HTTP and time are others'. */
#ifndef MLB_UPNP_H
#define MLB_UPNP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLB_SSDP_PORT 1900
#define MLB_SSDP_GROUP "239.255.255.250"
#define MLB_UPNP_TEXT 128		/* service types and the like, with the NUL */
#define MLB_UPNP_HOST 64
#define MLB_UPNP_PATH 256
#define MLB_UPNP_XML_MOST 131072	/* a longer description or answer is not read */
#define MLB_UPNP_REQUEST_MOST 4096

/* http://host[:port]/path, taken apart. The host is an address as text, IPv6 without brackets. */
struct mlb_upnp_url {
	char host[MLB_UPNP_HOST];
	uint16_t port;
	char path[MLB_UPNP_PATH];	/* with its query; begins with a slash */
};

enum mlb_ssdp_type {
	MLB_SSDP_ANSWER,	/* to our search */
	MLB_SSDP_ALIVE,		/* NOTIFY ssdp:alive */
	MLB_SSDP_BYEBYE,
};

struct mlb_ssdp_message {
	enum mlb_ssdp_type type;
	char target[MLB_UPNP_TEXT];	/* ST or NT */
	bool has_location;
	struct mlb_upnp_url location;
	bool has_boot_id;
	uint32_t boot_id;		/* BOOTID.UPNP.ORG: another one after each restart */
};

/* One service of a gateway: what it is, where its SOAP requests go. */
struct mlb_upnp_service {
	char type[MLB_UPNP_TEXT];	/* urn:schemas-upnp-org:service:WANIPConnection:1; empty: the gateway has none */
	struct mlb_upnp_url control;
};

struct mlb_upnp_gateway {
	struct mlb_upnp_service connections[2];	/* WANIPConnection and WANPPPConnection, in the description's order */
	struct mlb_upnp_service firewall;	/* WANIPv6FirewallControl */
};

struct mlb_upnp_argument {
	const char *name;
	const char *value;
};

/* A question by SSDP (UDA 1.1 section 1.3.2) for devices of that type, to be sent to `host`. Returns its length, or -EMSGSIZE. */
int mlb_ssdp_encode_search(const char *host, const char *target, unsigned int mx_s, char *ret_text, size_t size);

/* An answer or a NOTIFY. 0; -EBADMSG and `*ret_why` (a constant) says what is wrong. */
int mlb_ssdp_decode(const char *bytes, size_t length, struct mlb_ssdp_message *ret_message, const char **ret_why);

/* Take a URL apart. -EINVAL: not http, no address as host, a port or path that cannot stand in a request line. */
int mlb_upnp_parse_url(const char *text, struct mlb_upnp_url *ret_url);

/* The gateway that a description (its URL is `url`, on `host`) tells of. -EBADMSG and `*ret_why`: no gateway, or one whose
 * requests would go to another host. */
int mlb_upnp_decode_description(const char *xml, size_t length, const char *url, const char *host,
				struct mlb_upnp_gateway *ret_gateway, const char **ret_why);

/* The body of a SOAP request (UDA 1.1 section 3.2.1). Returns its length, or -EMSGSIZE. */
int mlb_upnp_encode_action(const char *service_type, const char *action, const struct mlb_upnp_argument *arguments,
			   size_t count, char *ret_xml, size_t size);

/* Every element of an answer that holds text, the last first; `on_value` is called for each. -EMSGSIZE when it is too long to read. */
int mlb_upnp_decode_answer(const char *xml, size_t length,
			   void (*on_value)(void *context, const char *name, const char *value), void *context);

/* What an error of a gateway means, in words; NULL for an unknown one. */
const char *mlb_upnp_error_text(int code);

#endif
