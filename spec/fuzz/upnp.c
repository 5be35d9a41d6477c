/* libFuzzer: SSDP, descriptions and SOAP answers, ours and miniupnpc's parsers alike. The first byte says which. What comes
 * out can stand in a request line, a header and an element. */
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ROOM (4 << 20)
#define GUARD 65536

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* What upnp.c allocates for miniupnpc ends before a page that cannot be read: Debian's library is not instrumented, and one
 * byte beyond its padding ends it here. There is one such text at a time. */
static void *guarded_malloc(size_t size)
{
	static char *end;

	if (!end) {
		char *start = mmap(NULL, ROOM + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		check(start != MAP_FAILED && mprotect(start + ROOM, GUARD, PROT_NONE) == 0);
		end = start + ROOM;
	}
	check(size <= ROOM);
	return end - size;
}

static void guarded_free(void *text)
{
	(void)text;
}

#define malloc guarded_malloc
#define free guarded_free
#include "../../core/upnp.c"
#undef malloc
#undef free

static void check_url(const struct mlb_upnp_url *url)
{
	check(url->path[0] == '/' && url->port != 0);
	check(memchr(url->host, '\0', sizeof(url->host)) && memchr(url->path, '\0', sizeof(url->path)));
	for (const char *c = url->path; *c; c++)
		check((unsigned char)*c > ' ' && (unsigned char)*c < 0x7f);
}

static void fuzz_ssdp(const char *text, size_t length)
{
	struct mlb_ssdp_message message;
	const char *why = NULL;

	if (mlb_ssdp_decode(text, length, &message, &why) < 0) {
		check(why != NULL);
		return;
	}
	if (message.has_location)
		check_url(&message.location);
}

static void fuzz_description(const char *text, size_t length)
{
	struct mlb_upnp_gateway gateway;
	const char *why = NULL;

	if (mlb_upnp_decode_description(text, length, "http://10.0.0.1:5000/root.xml", "10.0.0.1", &gateway, &why) < 0) {
		check(why != NULL);
		return;
	}
	check(gateway.connections[0].type[0] != '\0');
	for (size_t i = 0; i < 2; i++) {
		const struct mlb_upnp_service *service = &gateway.connections[i];

		if (service->type[0] == '\0')
			continue;
		check(is_plain(service->type) && strcmp(service->control.host, "10.0.0.1") == 0);
		check_url(&service->control);
	}
	if (gateway.firewall.type[0])
		check(is_plain(gateway.firewall.type) && strcmp(gateway.firewall.control.host, "10.0.0.1") == 0);
}

static void on_value(void *context, const char *name, const char *value)
{
	size_t *total = context;

	*total += strlen(name) + strlen(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	size_t total = 0;

	if (size == 0)
		return 0;
	if (data[0] == 's')
		fuzz_ssdp(text, size - 1);
	else if (data[0] == 'd')
		fuzz_description(text, size - 1);
	else
		mlb_upnp_decode_answer(text, size - 1, on_value, &total);
	check(total <= size * 2);
	return 0;
}
