/* core/lua_kube.c: module `moonlb.core.kube`; mechanism is core/kube.c and core/json_cut.c. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_cut.h"
#include "kube.h"
#include "lua_util.h"

#define CLIENT_MT "moonlb.core.kube.client"
#define REQUEST_MT "moonlb.core.kube.request"
#define WATCH_MT "moonlb.core.kube.watch"

#define CLIENT 1	/* user value of requests and watches: their client, which thus outlives them */
#define MAX_BYTES (64 << 20)
#define MAX_LINE (8 << 20)

struct client {
	struct mlb_kube *kube;		/* NULL: collected */
	bool is_closed;
};

struct request {
	struct mlb_transfer *transfer;	/* NULL: over */
	lua_State *L;
	int self;			/* pins the userdata while the transfer lives */
	int callback;
};

struct watch {
	struct mlb_transfer *transfer;	/* NULL: over */
	lua_State *L;
	int self;
	int on_line;
	int on_end;
};

/* Registry key of cjson.safe's decode: reads the Status in an HTTP error that ends a watch. */
static const char decode_key;

static struct client *check_client(lua_State *L)
{
	struct client *client = luaL_checkudata(L, 1, CLIENT_MT);

	luaL_argcheck(L, !client->is_closed, 1, "client is closed");
	return client;
}

static uint64_t opt_ms(lua_State *L, const char *field, lua_Number fallback_s)
{
	lua_Number seconds = fallback_s;

	if (lua_getfield(L, 2, field) != LUA_TNIL) {
		int is_number;

		seconds = lua_tonumberx(L, -1, &is_number);
		if (!is_number || !(seconds > 0 && seconds <= 1e6))
			luaL_error(L, "%s: positive number of seconds expected", field);
	}
	lua_pop(L, 1);
	return (uint64_t)(seconds * 1000);
}

/* One more header, as it goes out: a line break would make two of it. */
static const char *opt_header(lua_State *L)
{
	const char *header = mlb_opt_string(L, 2, "header", NULL);

	for (const char *c = header; c && *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			luaL_error(L, "header: no control characters expected, got byte %d", (int)*c);
	return header;
}

/* The path goes into a request line as it is. */
static const char *check_path(lua_State *L)
{
	const char *path = mlb_check_string(L, 2, "path");

	if (path[0] != '/')
		luaL_error(L, "path: it begins with a slash, got %s", path);
	for (const char *c = path; *c; c++)
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
			luaL_error(L, "path: percent encoding expected for byte %d", (int)(unsigned char)*c);
	return path;
}

/* An address as canonical text; libcurl would take a name to a resolver. */
static const char *opt_source(lua_State *L)
{
	const char *source = mlb_opt_string(L, 1, "source", NULL);
	struct in6_addr address;

	if (source && inet_pton(AF_INET, source, &address) != 1 && inet_pton(AF_INET6, source, &address) != 1)
		luaL_error(L, "source: an address expected, got %s", source);
	return source;
}

/* moonlb.core.kube.client{server=, ca_file=, ca_data=, cert_file=, cert_data=, key_file=, key_data=, token=, token_file=, server_name=, proxy=,
 * user_agent=, source=, max_in_flight=16} -> client | nil, message, code
 * `server` is an http or https URL; `*_data` is PEM text. The server's certificate is always verified, against these authorities alone or the system's.
 * `source` is the address that connections leave from. `token_file` is read again when it changes: at most once a minute, and after a 401, which is then retried once. */
static int kube_client(lua_State *L)
{
	struct mlb_kube_options options = { 0 };
	struct client *client;
	char problem[256];
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	options.server = mlb_check_string(L, 1, "server");
	options.ca_file = mlb_opt_string(L, 1, "ca_file", NULL);
	options.ca_data = mlb_opt_string(L, 1, "ca_data", NULL);
	options.cert_file = mlb_opt_string(L, 1, "cert_file", NULL);
	options.cert_data = mlb_opt_string(L, 1, "cert_data", NULL);
	options.key_file = mlb_opt_string(L, 1, "key_file", NULL);
	options.key_data = mlb_opt_string(L, 1, "key_data", NULL);
	options.token = mlb_opt_string(L, 1, "token", NULL);
	options.token_file = mlb_opt_string(L, 1, "token_file", NULL);
	options.server_name = mlb_opt_string(L, 1, "server_name", NULL);
	options.proxy = mlb_opt_string(L, 1, "proxy", NULL);
	options.user_agent = mlb_opt_string(L, 1, "user_agent", "moonlb/" MLB_VERSION);
	options.source = opt_source(L);
	options.max_in_flight = (unsigned int)mlb_opt_integer(L, 1, "max_in_flight", 16, 1, 1024);
	client = lua_newuserdatauv(L, sizeof(*client), 0);
	*client = (struct client){ .is_closed = true };
	luaL_setmetatable(L, CLIENT_MT);
	err = mlb_kube_open(mlb_loop(L), &options, &client->kube, problem, sizeof(problem));
	if (err)
		return mlb_push_error(L, err, "%s", problem);
	client->is_closed = false;
	return 1;
}

/* `{message=, code=}` of a failure without an HTTP answer. */
static void push_failure(lua_State *L, const struct mlb_kube_failure *failure)
{
	mlb_push_error_table(L, failure->message, failure->code);
}

static void push_answer(lua_State *L, const struct mlb_kube_answer *answer)
{
	lua_createtable(L, 0, 4);
	lua_pushinteger(L, answer->status);
	lua_setfield(L, -2, "status");
	lua_pushlstring(L, answer->body, answer->body_length);
	lua_setfield(L, -2, "body");
	lua_pushstring(L, answer->content_type);
	lua_setfield(L, -2, "content_type");
	if (answer->retry_after_s > 0) {
		lua_pushinteger(L, answer->retry_after_s);
		lua_setfield(L, -2, "retry_after");
	}
}

static void on_answer(void *owner, const struct mlb_kube_failure *failure, const struct mlb_kube_answer *answer)
{
	struct request *request = owner;
	lua_State *L = request->L;

	request->transfer = NULL;
	lua_rawgeti(L, LUA_REGISTRYINDEX, request->callback);
	mlb_unpin(L, &request->callback);
	if (failure) {
		push_failure(L, failure);
		lua_pushnil(L);
	} else {
		lua_pushnil(L);
		push_answer(L, answer);
	}
	mlb_unpin(L, &request->self);	/* the userdata may go now: it is not touched below */
	mlb_call(L, 2, "kube request");
}

static const char *check_method(lua_State *L)
{
	static const char *const methods[] = { "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", NULL };
	const char *method = mlb_opt_string(L, 2, "method", "GET");

	for (size_t i = 0; methods[i]; i++)
		if (strcmp(method, methods[i]) == 0)
			return methods[i];
	luaL_error(L, "method: DELETE, GET, HEAD, OPTIONS, PATCH, POST or PUT expected, got %s", method);
	return NULL;
}

static bool check_priority(lua_State *L)
{
	const char *priority = mlb_opt_string(L, 2, "priority", "normal");
	bool is_low = strcmp(priority, "low") == 0;

	if (!is_low && strcmp(priority, "normal") != 0)
		luaL_error(L, "priority: normal or low expected, got %s", priority);
	return is_low;
}

static void read_body(lua_State *L, struct mlb_kube_request *request)
{
	bool wants_body = request->method[0] == 'P';	/* an empty one is announced as such */

	request->body = mlb_opt_string(L, 2, "body", wants_body ? "" : NULL);
	if (lua_getfield(L, 2, "body") == LUA_TSTRING)
		request->body_length = lua_rawlen(L, -1);	/* it may hold NULs */
	lua_pop(L, 1);
}

static struct request *push_request(lua_State *L)
{
	struct request *request = lua_newuserdatauv(L, sizeof(*request), 1);

	*request = (struct request){ .L = mlb_main_state(L), .self = LUA_NOREF, .callback = LUA_NOREF };
	luaL_setmetatable(L, REQUEST_MT);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, CLIENT);
	return request;
}

/* client:request({method="GET", path=, body=, content_type="application/json", accept="application/json", header="Name: value"|nil, timeout=10, max_bytes=64 MiB, priority="normal"|"low",
 * keep_managed=false}, callback) -> request with cancel()
 * callback(err, answer), once, from the loop: answer = {status=, body=, content_type=, retry_after=seconds|nil} for any HTTP answer; err when there is none,
 * with code ETIMEDOUT (`timeout` counts from this call), ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EADDRNOTAVAIL (`source`), EPROTO, EMSGSIZE (more than max_bytes), ECANCELED, EAUTH (TLS) or
 * EAGAIN (50,000 wait already). JSON bodies come without managedFields and the last-applied annotation, unless keep_managed. Redirects are answers. */
static int client_request(lua_State *L)
{
	struct client *client = check_client(L);
	struct mlb_kube_request options = { 0 };
	struct mlb_kube_callbacks callbacks = { .on_answer = on_answer };
	struct request *request;

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	options.method = check_method(L);
	options.path = check_path(L);
	options.content_type = mlb_opt_string(L, 2, "content_type", "application/json");
	options.accept = mlb_opt_string(L, 2, "accept", "application/json");
	options.header = opt_header(L);
	options.timeout_ms = opt_ms(L, "timeout", 10);
	options.max_bytes = (size_t)mlb_opt_integer(L, 2, "max_bytes", MAX_BYTES, 1, 1 << 30);
	options.is_low = check_priority(L);
	options.keep_managed = mlb_opt_boolean(L, 2, "keep_managed", false);
	read_body(L, &options);
	request = push_request(L);
	callbacks.owner = request;
	request->transfer = mlb_kube_request(client->kube, &options, &callbacks);
	if (!request->transfer)
		return mlb_push_error(L, ENOMEM, "%s %s", options.method, options.path);
	request->callback = mlb_pin(L, 3);
	request->self = mlb_pin(L, -1);
	return 1;
}

/* request:cancel(): the callback follows from the loop with ECANCELED, unless it was called already. Idempotent. */
static int request_cancel(lua_State *L)
{
	struct request *request = luaL_checkudata(L, 1, REQUEST_MT);

	if (request->transfer)
		mlb_kube_cancel(request->transfer);
	return 0;
}

static void on_line(void *owner, const char *text, size_t length)
{
	struct watch *watch = owner;

	lua_rawgeti(watch->L, LUA_REGISTRYINDEX, watch->on_line);
	lua_pushlstring(watch->L, text, length);
	mlb_call(watch->L, 1, "kube watch");
}

static void unpin_watch(struct watch *watch)
{
	watch->transfer = NULL;
	mlb_unpin(watch->L, &watch->on_line);
	mlb_unpin(watch->L, &watch->on_end);
	mlb_unpin(watch->L, &watch->self);
}

/* The reason a status stands for when the body names none (k8s.io/apimachinery, meta/v1 StatusReason). */
static const char *default_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 400, "BadRequest" }, { 401, "Unauthorized" }, { 403, "Forbidden" }, { 404, "NotFound" },
		{ 405, "MethodNotAllowed" }, { 406, "NotAcceptable" }, { 409, "Conflict" }, { 410, "Expired" },
		{ 415, "UnsupportedMediaType" }, { 422, "Invalid" }, { 429, "TooManyRequests" },
		{ 500, "InternalError" }, { 503, "ServiceUnavailable" }, { 504, "Timeout" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "EPROTO";
}

/* `{message=, code=, status=, retry_after=}` of the HTTP error that ended a watch; its body is a Status if all is well. */
static void push_http_error(lua_State *L, const struct mlb_kube_failure *failure)
{
	int base = lua_gettop(L);
	const char *reason = NULL, *message = NULL;

	lua_rawgetp(L, LUA_REGISTRYINDEX, &decode_key);
	lua_pushlstring(L, failure->body, failure->body_length);
	if (lua_pcall(L, 1, 1, 0) == LUA_OK && lua_istable(L, -1)) {	/* status */
		if (lua_getfield(L, base + 1, "reason") == LUA_TSTRING)
			reason = lua_tostring(L, -1);
		if (lua_getfield(L, base + 1, "message") == LUA_TSTRING)
			message = lua_tostring(L, -1);
	}
	message = message ? lua_pushfstring(L, "%s: %s", failure->message, message) : failure->message;
	mlb_push_error_table(L, message, reason && *reason ? reason : default_reason(failure->status));
	lua_replace(L, base + 1);
	lua_settop(L, base + 1);				/* err */
	lua_pushinteger(L, failure->status);
	lua_setfield(L, -2, "status");
	if (failure->retry_after_s > 0) {
		lua_pushinteger(L, failure->retry_after_s);
		lua_setfield(L, -2, "retry_after");
	}
}

static void on_end(void *owner, const struct mlb_kube_failure *failure)
{
	struct watch *watch = owner;
	lua_State *L = watch->L;

	lua_rawgeti(L, LUA_REGISTRYINDEX, watch->on_end);
	if (!failure)
		lua_pushnil(L);
	else if (failure->code)
		push_failure(L, failure);
	else
		push_http_error(L, failure);
	unpin_watch(watch);
	mlb_call(L, 1, "kube watch end");
}

static struct watch *push_watch(lua_State *L)
{
	struct watch *watch = lua_newuserdatauv(L, sizeof(*watch), 1);

	*watch = (struct watch){ .L = mlb_main_state(L), .self = LUA_NOREF, .on_line = LUA_NOREF, .on_end = LUA_NOREF };
	luaL_setmetatable(L, WATCH_MT);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, CLIENT);
	return watch;
}

/* client:watch({path=, timeout=, idle=, max_line=8 MiB}, on_line, on_end) -> watch with close()
 * A stream of events on a connection of its own, open until it ends or is closed. on_line(text): one event, without managedFields and the last-applied
 * annotation. on_end(err), once: nil when the server ended it; {message=, code=} with ETIMEDOUT (no byte for `idle` seconds, or `timeout` over), EMSGSIZE (a line longer
 * than max_line bytes), ECONNRESET (cut, or ended inside an event), EPROTO (not JSON) and what requests have; for an HTTP error code is the Status' reason ("Expired"), with
 * `status` and `retry_after`. Seconds; no `timeout` or `idle`: for ever. */
static int client_watch(lua_State *L)
{
	struct client *client = check_client(L);
	struct mlb_kube_callbacks callbacks = { .on_line = on_line, .on_end = on_end };
	struct mlb_kube_watch options = { 0 };
	struct watch *watch;

	luaL_checktype(L, 2, LUA_TTABLE);
	luaL_checktype(L, 3, LUA_TFUNCTION);
	luaL_checktype(L, 4, LUA_TFUNCTION);
	options.path = check_path(L);
	options.timeout_ms = opt_ms(L, "timeout", 0);
	options.idle_ms = opt_ms(L, "idle", 0);
	options.max_line = (size_t)mlb_opt_integer(L, 2, "max_line", MAX_LINE, 1, 1 << 30);
	watch = push_watch(L);
	callbacks.owner = watch;
	watch->transfer = mlb_kube_watch(client->kube, &options, &callbacks);
	if (!watch->transfer)
		return mlb_push_error(L, ENOMEM, "watch %s", options.path);
	watch->on_line = mlb_pin(L, 3);
	watch->on_end = mlb_pin(L, 4);
	watch->self = mlb_pin(L, -1);
	return 1;
}

/* watch:close(); also __close. Neither on_line nor on_end is called afterwards. Idempotent. */
static int watch_close(lua_State *L)
{
	struct watch *watch = luaL_checkudata(L, 1, WATCH_MT);
	struct mlb_transfer *transfer = watch->transfer;

	if (!transfer)
		return 0;
	unpin_watch(watch);
	mlb_kube_end_watch(transfer);
	return 0;
}

/* client:set_token(token or nil): the bearer token from the next request on. Raises when it could forge a header. */
static int client_set_token(lua_State *L)
{
	struct client *client = check_client(L);
	int err = mlb_kube_set_token(client->kube, luaL_optstring(L, 2, NULL));

	luaL_argcheck(L, err != -EINVAL, 2, "a token has no spaces or control characters");
	return err ? mlb_push_error(L, err, "set token") : 0;
}

/* client:stats() -> {requests=, errors=, in_flight=, queued=, watches=, by={["GET 200"]=n}}: `requests` ended (watches too), `errors` of them
 * without an HTTP answer; `by` counts answers by method and status. */
static int client_stats(lua_State *L)
{
	struct client *client = check_client(L);
	struct mlb_kube_stats stats;
	const char *method;
	uint64_t count;
	int status;

	mlb_kube_stats(client->kube, &stats);
	lua_createtable(L, 0, 6);
	lua_pushinteger(L, (lua_Integer)stats.requests);
	lua_setfield(L, -2, "requests");
	lua_pushinteger(L, (lua_Integer)stats.errors);
	lua_setfield(L, -2, "errors");
	lua_pushinteger(L, stats.in_flight);
	lua_setfield(L, -2, "in_flight");
	lua_pushinteger(L, stats.queued);
	lua_setfield(L, -2, "queued");
	lua_pushinteger(L, stats.watches);
	lua_setfield(L, -2, "watches");
	lua_newtable(L);
	for (size_t i = 0; mlb_kube_count(client->kube, i, &method, &status, &count); i++) {
		lua_pushfstring(L, "%s %d", method, status);
		lua_pushinteger(L, (lua_Integer)count);
		lua_rawset(L, -3);
	}
	lua_setfield(L, -2, "by");
	return 1;
}

/* client:close(); also __close. Requests and watches that are open end with ECANCELED, from the loop. Idempotent, never raises. */
static int client_close(lua_State *L)
{
	struct client *client = luaL_checkudata(L, 1, CLIENT_MT);

	if (!client->is_closed)
		mlb_kube_close(client->kube);
	client->is_closed = true;
	return 0;
}

/* Unlike close: open transfers keep their client alive, so that here either none is left or the state itself closes, and
 * nobody may be called. */
static int client_gc(lua_State *L)
{
	struct client *client = luaL_checkudata(L, 1, CLIENT_MT);

	if (client->kube)
		mlb_kube_release(client->kube);
	client->kube = NULL;
	client->is_closed = true;
	return 0;
}

/* moonlb.core.kube.cut(json_text) -> json_text without metadata.managedFields and the last-applied annotation, at any depth. */
static int kube_cut(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);
	luaL_Buffer buffer;
	char *copy = luaL_buffinitsize(L, &buffer, length);

	memcpy(copy, text, length);
	luaL_pushresultsize(&buffer, mlb_json_cut(copy, length));
	return 1;
}

static const luaL_Reg functions[] = {
	{ "client", kube_client },
	{ "cut", kube_cut },
	{ NULL, NULL },
};

static const luaL_Reg client_methods[] = {
	{ "close", client_close },
	{ "request", client_request },
	{ "set_token", client_set_token },
	{ "stats", client_stats },
	{ "watch", client_watch },
	{ NULL, NULL },
};

static const luaL_Reg client_metamethods[] = {
	{ "__close", client_close },
	{ "__gc", client_gc },
	{ NULL, NULL },
};

static const luaL_Reg request_methods[] = {
	{ "cancel", request_cancel },
	{ NULL, NULL },
};

static const luaL_Reg watch_methods[] = {
	{ "close", watch_close },
	{ NULL, NULL },
};

static const luaL_Reg watch_metamethods[] = {
	{ "__close", watch_close },
	{ NULL, NULL },
};

static const luaL_Reg no_metamethods[] = {
	{ NULL, NULL },
};

int luaopen_moonlb_core_kube(lua_State *L);

int luaopen_moonlb_core_kube(lua_State *L)
{
	mlb_new_class(L, CLIENT_MT, client_methods, client_metamethods);
	mlb_new_class(L, REQUEST_MT, request_methods, no_metamethods);
	mlb_new_class(L, WATCH_MT, watch_methods, watch_metamethods);
	lua_getglobal(L, "require");
	lua_pushliteral(L, "cjson.safe");
	lua_call(L, 1, 1);
	lua_getfield(L, -1, "decode");
	lua_rawsetp(L, LUA_REGISTRYINDEX, &decode_key);
	lua_pop(L, 1);
	luaL_newlib(L, functions);
	return 1;
}
