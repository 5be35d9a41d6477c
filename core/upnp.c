#include "upnp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <miniupnpc/igd_desc_parse.h>
#include <miniupnpc/miniupnpc.h>
#include <miniupnpc/upnpreplyparse.h>

/* miniupnpc 2.2.4 reads a byte or two beyond what it is given when a name is cut off there (spec/fuzz/upnp.c): it is given a
 * copy with so many zeros behind it. */
#define PADDING 64

#define SSDP_MOST 2048	/* an answer fits one datagram; more is not worth a look */

int mlb_ssdp_encode_search(const char *host, const char *target, unsigned int mx_s, char *ret_text, size_t size)
{
	int length = snprintf(ret_text, size,
			      "M-SEARCH * HTTP/1.1\r\nHOST: %s:%d\r\nMAN: \"ssdp:discover\"\r\nMX: %u\r\nST: %s\r\n\r\n",
			      host, MLB_SSDP_PORT, mx_s, target);

	return length < 0 || (size_t)length >= size ? -EMSGSIZE : length;
}

/* What may stand in a header or an XML name: a service type is no more than this. */
static bool is_plain(const char *text)
{
	return text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:._-")] == '\0';
}

static int parse_port(const char **text, uint16_t *ret_port)
{
	unsigned long port = 0;
	const char *c = *text;

	for (; *c >= '0' && *c <= '9' && port <= UINT16_MAX; c++)
		port = port * 10 + (unsigned long)(*c - '0');
	if (port == 0 || port > UINT16_MAX)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	*text = c;
	return 0;
}

/* An address alone: a name would make us ask a resolver, on a stranger's word. A zone is taken with it. */
static int parse_host(const char **text, char ret_host[MLB_UPNP_HOST])
{
	bool is_v6 = **text == '[';
	const char *start = *text + (is_v6 ? 1 : 0);
	size_t length = strcspn(start, is_v6 ? "]" : ":/?#");
	struct in6_addr address;
	char bare[MLB_UPNP_HOST];

	if (length == 0 || length >= MLB_UPNP_HOST || (is_v6 && start[length] != ']'))
		return -EINVAL;
	memcpy(bare, start, length);
	bare[length] = '\0';
	if (is_v6)
		bare[strcspn(bare, "%")] = '\0';
	if (inet_pton(is_v6 ? AF_INET6 : AF_INET, bare, &address) != 1)
		return -EINVAL;
	inet_ntop(is_v6 ? AF_INET6 : AF_INET, &address, ret_host, MLB_UPNP_HOST);	/* one form of each */
	*text = start + length + (is_v6 ? 1 : 0);
	return 0;
}

int mlb_upnp_parse_url(const char *text, struct mlb_upnp_url *ret_url)
{
	struct mlb_upnp_url url = { .port = 80 };
	size_t length;

	if (strncasecmp(text, "http://", 7) != 0)
		return -EINVAL;
	text += 7;
	if (parse_host(&text, url.host) != 0)
		return -EINVAL;
	if (*text == ':') {
		text++;
		if (parse_port(&text, &url.port) != 0)
			return -EINVAL;
	}
	length = strlen(text);
	if ((*text != '/' && *text != '\0') || length >= sizeof(url.path))
		return -EINVAL;
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '#')
			return -EINVAL;
	strcpy(url.path, length ? text : "/");
	*ret_url = url;
	return 0;
}

/* One line without its end; what remains is in `*text`. False: nothing is left, or an empty line ends the headers. */
static bool next_line(const char **text, const char *end, const char **ret_line, size_t *ret_length)
{
	const char *newline = memchr(*text, '\n', (size_t)(end - *text));
	const char *stop = newline ? newline : end;

	*ret_line = *text;
	*text = newline ? newline + 1 : end;
	if (stop > *ret_line && stop[-1] == '\r')
		stop--;
	*ret_length = (size_t)(stop - *ret_line);
	return *ret_length > 0;
}

/* The value of header `name` if this line is that one, without white space around it. -ENOENT: it is another; -EMSGSIZE. */
static int header_value(const char *line, size_t length, const char *name, char *ret_value, size_t size)
{
	size_t skip = strlen(name);

	if (length <= skip || strncasecmp(line, name, skip) != 0 || line[skip] != ':')
		return -ENOENT;
	for (skip++; skip < length && strchr(" \t", line[skip]); skip++)
		;
	while (length > skip && strchr(" \t", line[length - 1]))
		length--;
	if (length - skip >= size || memchr(line + skip, '\0', length - skip))
		return -EMSGSIZE;
	memcpy(ret_value, line + skip, length - skip);
	ret_value[length - skip] = '\0';
	return 0;
}

static bool read_boot_id(const char *text, uint32_t *ret_id)
{
	unsigned long id;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	id = strtoul(text, &end, 10);
	if (*end || errno || id > UINT32_MAX)
		return false;
	*ret_id = (uint32_t)id;
	return true;
}

/* One header of an SSDP message. False: it makes the message useless. */
static bool read_header(const char *line, size_t length, struct mlb_ssdp_message *message, char nts[32])
{
	char value[MLB_UPNP_PATH + MLB_UPNP_HOST + 16];

	if (header_value(line, length, message->type == MLB_SSDP_ANSWER ? "ST" : "NT", value, MLB_UPNP_TEXT) == 0)
		strcpy(message->target, value);
	else if (header_value(line, length, "NTS", value, 32) == 0)
		strcpy(nts, value);
	else if (header_value(line, length, "BOOTID.UPNP.ORG", value, 16) == 0)
		message->has_boot_id = read_boot_id(value, &message->boot_id);
	else if (header_value(line, length, "LOCATION", value, sizeof(value)) == 0)
		message->has_location = mlb_upnp_parse_url(value, &message->location) == 0;
	else
		return header_value(line, length, "LOCATION", value, sizeof(value)) != -EMSGSIZE;
	return true;
}

int mlb_ssdp_decode(const char *bytes, size_t length, struct mlb_ssdp_message *ret_message, const char **ret_why)
{
	struct mlb_ssdp_message message = { .type = MLB_SSDP_ANSWER };
	const char *end = bytes + length, *line;
	char nts[32] = "";
	size_t size;

	*ret_why = "longer than a datagram of SSDP";
	if (length > SSDP_MOST)
		return -EBADMSG;
	*ret_why = "neither an answer nor a NOTIFY";
	if (!next_line(&bytes, end, &line, &size))
		return -EBADMSG;
	if (size >= 16 && strncasecmp(line, "NOTIFY * HTTP/1.", 16) == 0)
		message.type = MLB_SSDP_ALIVE;
	else if (size < 12 || strncasecmp(line, "HTTP/1.", 7) != 0 || strncmp(line + 8, " 200", 4) != 0)
		return -EBADMSG;
	*ret_why = "its LOCATION is too long";
	while (next_line(&bytes, end, &line, &size))
		if (!read_header(line, size, &message, nts))
			return -EBADMSG;
	*ret_why = "a NOTIFY that is neither ssdp:alive nor ssdp:byebye";
	if (message.type == MLB_SSDP_ALIVE && strcmp(nts, "ssdp:byebye") == 0)
		message.type = MLB_SSDP_BYEBYE;
	else if (message.type == MLB_SSDP_ALIVE && strcmp(nts, "ssdp:alive") != 0)
		return -EBADMSG;
	*ret_message = message;
	return 0;
}

static char *pad(const char *xml, size_t length)
{
	char *copy = malloc(length + PADDING);

	if (copy) {
		memcpy(copy, xml, length);
		memset(copy + length, 0, PADDING);
	}
	return copy;
}

/* One service, if its requests go to the host that the description came from. */
static int read_service(const char *type, const char *url, const char *host, struct mlb_upnp_service *ret_service)
{
	struct mlb_upnp_service service = { .type = "" };

	if (type[0] == '\0' || !url || !is_plain(type) || strlen(type) >= sizeof(service.type))
		return -ENOENT;
	if (mlb_upnp_parse_url(url, &service.control) != 0 || strcmp(service.control.host, host) != 0)
		return -EBADMSG;
	strcpy(service.type, type);
	*ret_service = service;
	return 0;
}

/* miniupnpc resolves the URL of data->first alone: the second connection takes its place for that. */
static int read_second(struct IGDdatas *data, const char *url, const char *host, struct mlb_upnp_service *ret_service)
{
	struct UPNPUrls urls;
	int err;

	memset(&urls, 0, sizeof(urls));
	data->first = data->second;
	GetUPNPUrls(&urls, data, url, 0);
	err = read_service(data->second.servicetype, urls.controlURL, host, ret_service);
	FreeUPNPUrls(&urls);
	return err;
}

int mlb_upnp_decode_description(const char *xml, size_t length, const char *url, const char *host,
				struct mlb_upnp_gateway *ret_gateway, const char **ret_why)
{
	struct mlb_upnp_gateway gateway;
	struct IGDdatas data;
	struct UPNPUrls urls;
	int first, second;
	char *copy;

	memset(&gateway, 0, sizeof(gateway));
	memset(&data, 0, sizeof(data));
	memset(&urls, 0, sizeof(urls));
	*ret_why = "the description is too long, or memory is short";
	if (length > MLB_UPNP_XML_MOST)
		return -EBADMSG;
	copy = pad(xml, length);
	if (!copy)
		return -ENOMEM;
	parserootdesc(copy, (int)length, &data);
	free(copy);
	GetUPNPUrls(&urls, &data, url, 0);
	first = read_service(data.first.servicetype, urls.controlURL, host, &gateway.connections[0]);
	read_service(data.IPv6FC.servicetype, urls.controlURL_6FC, host, &gateway.firewall);
	FreeUPNPUrls(&urls);
	second = read_second(&data, url, host, &gateway.connections[first == 0 ? 1 : 0]);
	if (first == 0 || second == 0) {
		*ret_gateway = gateway;
		return 0;
	}
	*ret_why = first == -EBADMSG || second == -EBADMSG ? "its control URL is not on the gateway itself" :
							     "it offers neither WANIPConnection nor WANPPPConnection";
	return -EBADMSG;
}

struct text {
	char *data;
	size_t length;
	size_t size;
};

static void add(struct text *text, const char *part)
{
	size_t length = strlen(part);

	if (length < text->size - text->length)
		memcpy(text->data + text->length, part, length + 1);
	text->length = length < text->size - text->length ? text->length + length : text->size;
}

/* XML 1.0 section 2.4. Control characters have no place in XML at all. */
static void add_escaped(struct text *text, const char *value)
{
	for (; *value && text->length < text->size; value++) {
		char one[2] = { *value, '\0' };

		switch (*value) {
		case '&':
			add(text, "&amp;");
			break;
		case '<':
			add(text, "&lt;");
			break;
		case '>':
			add(text, "&gt;");
			break;
		default:
			if ((unsigned char)*value >= ' ')
				add(text, one);
		}
	}
}

static void add_argument(struct text *text, const struct mlb_upnp_argument *argument)
{
	add(text, "<");
	add(text, argument->name);
	add(text, ">");
	add_escaped(text, argument->value);
	add(text, "</");
	add(text, argument->name);
	add(text, ">");
}

int mlb_upnp_encode_action(const char *service_type, const char *action, const struct mlb_upnp_argument *arguments,
			   size_t count, char *ret_xml, size_t size)
{
	struct text text = { .data = ret_xml, .size = size };

	add(&text, "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" "
		   "s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:");
	add(&text, action);
	add(&text, " xmlns:u=\"");
	add(&text, service_type);
	add(&text, "\">");
	for (size_t i = 0; i < count; i++)
		add_argument(&text, &arguments[i]);
	add(&text, "</u:");
	add(&text, action);
	add(&text, "></s:Body></s:Envelope>\r\n");
	return text.length < size ? (int)text.length : -EMSGSIZE;
}

int mlb_upnp_decode_answer(const char *xml, size_t length,
			   void (*on_value)(void *context, const char *name, const char *value), void *context)
{
	struct NameValueParserData data;
	char *copy;

	if (length > MLB_UPNP_XML_MOST)
		return -EMSGSIZE;
	copy = pad(xml, length);
	if (!copy)
		return -ENOMEM;
	memset(&data, 0, sizeof(data));
	ParseNameValue(copy, (int)length, &data);
	for (const struct NameValue *it = data.l_head; it; it = it->l_next)
		on_value(context, it->name, it->value);
	ClearNameValueList(&data);
	free(copy);	/* the list may point into it until then */
	return 0;
}

/* WANIPConnection:1 and :2 (tables of each action's errors), WANIPv6FirewallControl:1, UDA 1.1 section 3.2.2. */
const char *mlb_upnp_error_text(int code)
{
	static const struct {
		int code;
		const char *text;
	} texts[] = {
		{ 401, "the gateway does not know the action" },
		{ 402, "the gateway finds an argument wrong" },
		{ 404, "the gateway does not know the variable" },
		{ 501, "the gateway failed to carry it out (it may be out of mappings, or not connected)" },
		{ 600, "an argument is out of range" },
		{ 601, "an argument is out of range" },
		{ 602, "the gateway does not implement that action" },
		{ 603, "the gateway is out of memory" },
		{ 604, "the gateway wants a person to agree first" },
		{ 605, "an argument is too long" },
		{ 606, "the gateway's rules do not allow it (a port below 1024, or another host's mapping, as a rule)" },
		{ 701, "the gateway's table of pinholes is full" },
		{ 702, "the gateway's firewall is off" },
		{ 703, "the gateway allows no pinholes" },
		{ 704, "the gateway knows no such pinhole" },
		{ 705, "the gateway does not open pinholes for that protocol" },
		{ 706, "the gateway needs the protocol named" },
		{ 707, "the gateway needs the port named" },
		{ 708, "the gateway's firewall knows no such protocol" },
		{ 713, "there is no such entry in the gateway's table" },
		{ 714, "the gateway has no such mapping" },
		{ 715, "the gateway wants the remote host named" },
		{ 716, "the gateway wants the outside port named" },
		{ 718, "the port is mapped to somebody else" },
		{ 724, "the gateway maps a port only to the same port inside" },
		{ 725, "the gateway knows permanent mappings alone" },
		{ 726, "the gateway maps for all remote hosts alone" },
		{ 727, "the gateway wants no outside port named" },
		{ 728, "the gateway has no port left" },
		{ 729, "the port is taken by something else on the gateway" },
		{ 730, "the range of ports is not allowed" },
		{ 732, "the gateway wants another inside port" },
		{ 733, "a range of ports is wrong" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].code == code)
			return texts[i].text;
	return NULL;
}
