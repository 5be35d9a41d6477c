/* core/lua_httpd.c: module `moonlb.core.httpd`; mechanism is core/httpd.c and core/uri.c. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "httpd.h"
#include "lua_util.h"
#include "uri.h"

#define SERVER_MT "moonlb.core.httpd.server"
#define RESPONSE_MT "moonlb.core.httpd.response"

#define MAX_HEADERS 64
#define ON_CLOSE 1	/* user value of a response: the function of response:on_close */

struct server {
	struct mlb_httpd *httpd;	/* NULL: closed */
	lua_State *L;
	int self;			/* pins the userdata while it listens */
	int handler;
};

struct response {
	struct mlb_exchange *exchange;	/* NULL: collected */
};

/* Registry key of the weak table exchange -> response: a lost connection finds its response, if that still lives. */
static const char responses_key;

static struct server *check_server(lua_State *L)
{
	struct server *server = luaL_checkudata(L, 1, SERVER_MT);

	luaL_argcheck(L, server->httpd, 1, "server is closed");
	return server;
}

static struct mlb_exchange *check_exchange(lua_State *L)
{
	struct response *response = luaL_checkudata(L, 1, RESPONSE_MT);

	luaL_argcheck(L, response->exchange, 1, "response was collected");
	return response->exchange;
}

/* A new response that holds a reference to `exchange`. */
static void push_response(lua_State *L, struct mlb_exchange *exchange)
{
	struct response *response = lua_newuserdatauv(L, sizeof(*response), 1);

	response->exchange = mlb_exchange_reference(exchange);
	luaL_setmetatable(L, RESPONSE_MT);
	lua_rawgetp(L, LUA_REGISTRYINDEX, &responses_key);
	lua_pushvalue(L, -2);
	lua_rawsetp(L, -2, exchange);
	lua_pop(L, 1);
}

/* Set the field in the table on the stack; a repeated name joins its values by ", " (RFC 9110 section 5.3). */
static void push_header(void *to, const char *name, const char *value, size_t value_length)
{
	lua_State *L = to;
	size_t length = strlen(name);
	luaL_Buffer lower;
	char *text;

	text = luaL_buffinitsize(L, &lower, length);
	for (size_t i = 0; i < length; i++)
		text[i] = (char)tolower((unsigned char)name[i]);
	luaL_pushresultsize(&lower, length);		/* headers name */
	lua_pushvalue(L, -1);
	if (lua_rawget(L, -3) == LUA_TSTRING) {		/* headers name old */
		lua_pushliteral(L, ", ");
		lua_pushlstring(L, value, value_length);
		lua_concat(L, 3);
	} else {
		lua_pop(L, 1);
		lua_pushlstring(L, value, value_length);
	}
	lua_rawset(L, -3);
}

static void push_request(lua_State *L, struct mlb_exchange *exchange)
{
	const char *uri = mlb_exchange_uri(exchange);
	const char *query = strchr(uri, '?');
	char remote[64];
	const char *body;
	size_t length;

	lua_createtable(L, 0, 6);
	lua_pushstring(L, mlb_exchange_method(exchange));
	lua_setfield(L, -2, "method");
	lua_pushlstring(L, uri, query ? (size_t)(query - uri) : strlen(uri));
	lua_setfield(L, -2, "path");
	lua_pushstring(L, query ? query + 1 : NULL);
	lua_setfield(L, -2, "query");
	lua_newtable(L);
	mlb_exchange_each_header(exchange, L, push_header);
	lua_setfield(L, -2, "headers");
	body = mlb_exchange_body(exchange, &length);
	lua_pushlstring(L, body, length);
	lua_setfield(L, -2, "body");
	mlb_exchange_remote(exchange, remote, sizeof(remote));
	lua_pushstring(L, remote);
	lua_setfield(L, -2, "remote");
}

static void on_request(void *owner, struct mlb_exchange *exchange)
{
	struct server *server = owner;
	lua_State *L = server->L;

	lua_rawgeti(L, LUA_REGISTRYINDEX, server->handler);
	push_request(L, exchange);
	push_response(L, exchange);			/* handler request response */
	lua_pushvalue(L, -1);
	lua_insert(L, -4);				/* response handler request response */
	if (!mlb_call(L, 2, "httpd handler") && !mlb_exchange_answered(exchange)) {
		static const char text[] = "the handler failed; the log says why\n";

		mlb_exchange_send(exchange, 500, NULL, 0, text, sizeof(text) - 1);
	}
	lua_pop(L, 1);
}

static void on_lost(void *owner, struct mlb_exchange *exchange)
{
	lua_State *L = ((struct server *)owner)->L;
	int base = lua_gettop(L);

	lua_rawgetp(L, LUA_REGISTRYINDEX, &responses_key);
	if (lua_rawgetp(L, -1, exchange) == LUA_TUSERDATA &&
	    lua_getiuservalue(L, -1, ON_CLOSE) == LUA_TFUNCTION) {	/* responses response fn */
		lua_pushnil(L);
		lua_setiuservalue(L, -3, ON_CLOSE);
		mlb_call(L, 0, "httpd on_close");
	}
	lua_settop(L, base);
}

static int read_address(lua_State *L, const char *text, lua_Integer port, struct sockaddr_storage *ret_address)
{
	if (uv_ip4_addr(text, (int)port, (struct sockaddr_in *)ret_address) != 0 &&
	    uv_ip6_addr(text, (int)port, (struct sockaddr_in6 *)ret_address) != 0)
		return luaL_error(L, "address: IPv4 or IPv6 address expected, got %s", text);
	return 0;
}

/* moonlb.core.httpd.listen({address=, port=, max_body=, max_connections=, idle_timeout=}, handler) -> server | nil, message, code
 * Serves HTTP/1.1 until server:close(), also when the server is not referenced. `handler(request, response)` is called for each request
 * whose body is complete: request = {method, path (raw), query (raw, nil without `?`), headers (lower-case names, repeated ones joined by
 * ", "), body, remote (peer's address)}. If it raises, the answer is 500. Sizes in bytes, `idle_timeout` in whole seconds
 * without a byte moving while we owe nothing (default 120; 0 for ever). `address` "::" takes IPv4 as well. */
static int httpd_listen(lua_State *L)
{
	struct mlb_httpd_options options = { 0 };
	struct mlb_httpd_handler handler = { .on_request = on_request, .on_lost = on_lost };
	struct server *server;
	const char *address;
	lua_Integer port;
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	address = mlb_opt_string(L, 1, "address", "127.0.0.1");
	port = mlb_opt_integer(L, 1, "port", 0, 0, 65535);
	read_address(L, address, port, &options.address);
	options.max_body = (size_t)mlb_opt_integer(L, 1, "max_body", 3 << 20, 0, 1 << 30);
	options.max_connections = (unsigned int)mlb_opt_integer(L, 1, "max_connections", 256, 1, 65536);
	options.idle_timeout_s = (unsigned int)mlb_opt_integer(L, 1, "idle_timeout", 120, 0, 86400);
	server = lua_newuserdatauv(L, sizeof(*server), 0);
	*server = (struct server){ .L = mlb_main_state(L), .self = LUA_NOREF, .handler = LUA_NOREF };
	luaL_setmetatable(L, SERVER_MT);
	handler.owner = server;
	err = mlb_httpd_open(mlb_loop(L), &options, &handler, &server->httpd);
	if (err)
		return mlb_push_error(L, err, "listen on %s port %d", address, (int)port);
	server->handler = mlb_pin(L, 2);
	server->self = mlb_pin(L, -1);
	return 1;
}

static void bound_address(const struct server *server, char *ret_text, size_t size, int *ret_port)
{
	struct sockaddr_storage address;

	mlb_httpd_address(server->httpd, &address);
	if (address.ss_family == AF_INET6) {
		uv_ip6_name((struct sockaddr_in6 *)&address, ret_text, size);
		*ret_port = ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	} else {
		uv_ip4_name((struct sockaddr_in *)&address, ret_text, size);
		*ret_port = ntohs(((struct sockaddr_in *)&address)->sin_port);
	}
}

/* server:port() -> the bound port */
static int server_port(lua_State *L)
{
	char text[64];
	int port;

	bound_address(check_server(L), text, sizeof(text), &port);
	lua_pushinteger(L, port);
	return 1;
}

/* server:address() -> the bound address */
static int server_address(lua_State *L)
{
	char text[64];
	int port;

	bound_address(check_server(L), text, sizeof(text), &port);
	lua_pushstring(L, text);
	return 1;
}

/* server:close(); also __gc and __close. Stops listening and cuts every connection; afterwards neither handler nor on_close
 * functions are called. Idempotent, never raises. */
static int server_close(lua_State *L)
{
	struct server *server = luaL_checkudata(L, 1, SERVER_MT);
	struct mlb_httpd *httpd = server->httpd;

	if (!httpd)
		return 0;
	server->httpd = NULL;
	mlb_httpd_close(httpd);
	mlb_unpin(L, &server->handler);
	mlb_unpin(L, &server->self);
	return 0;
}

/* The headers of the table at `arg` (name -> value, or an array of values for several fields of one name). Their strings live as
 * long as the table. */
static size_t read_headers(lua_State *L, int arg, struct mlb_http_header *headers)
{
	size_t count = 0;

	if (lua_isnoneornil(L, arg))
		return 0;
	luaL_checktype(L, arg, LUA_TTABLE);
	for (lua_pushnil(L); lua_next(L, arg); lua_pop(L, 1)) {	/* name value */
		bool is_array = lua_istable(L, -1);
		lua_Integer n = is_array ? luaL_len(L, -1) : 1;

		luaL_argcheck(L, lua_type(L, -2) == LUA_TSTRING, arg, "header names are strings");
		for (lua_Integer i = 1; i <= n; i++) {
			if (is_array)
				lua_geti(L, -1, i);
			else
				lua_pushvalue(L, -1);
			luaL_argcheck(L, count < MAX_HEADERS, arg, "too many headers");
			luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, arg, "header values are strings");
			headers[count].name = lua_tostring(L, -3);
			headers[count++].value = lua_tostring(L, -1);
			lua_pop(L, 1);
		}
	}
	return count;
}

static unsigned int check_status(lua_State *L)
{
	lua_Integer status = luaL_checkinteger(L, 2);

	luaL_argcheck(L, status >= 200 && status <= 599, 2, "a final status, 200 to 599, expected");
	return (unsigned int)status;
}

/* The result of answering: true, or the triple when the client is gone; misuse raises. */
static int push_result(lua_State *L, int err, const char *what)
{
	if (err == -EALREADY)
		return luaL_error(L, "%s: this request was answered already", what);
	if (err == -EINVAL)
		return luaL_error(L, "%s: a header that HTTP does not allow, or one that the server writes itself "
				     "(Content-Length, Transfer-Encoding)", what);
	if (err == -EPIPE)
		return mlb_push_failure(L, "the client is gone", "EPIPE");
	if (err == -ENOBUFS)
		return mlb_push_failure(L, "the client reads too slowly: its connection was cut", "ENOBUFS");
	if (err)
		return mlb_push_error(L, err, "%s", what);
	lua_pushboolean(L, 1);
	return 1;
}

/* response:send(status[, headers[, body]]) -> true | nil, message, "EPIPE": the whole answer. To HEAD the body is left out, its
 * length announced. A header's value is a string, or an array of strings. */
static int response_send(lua_State *L)
{
	struct mlb_exchange *exchange = check_exchange(L);
	struct mlb_http_header headers[MAX_HEADERS];
	unsigned int status = check_status(L);
	size_t count = read_headers(L, 3, headers);
	size_t length;
	const char *body = luaL_optlstring(L, 4, "", &length);

	return push_result(L, mlb_exchange_send(exchange, status, headers, count, body, length), "send");
}

/* response:start(status[, headers]) -> true | nil, message, "EPIPE": begin a stream. Dropping the last reference to the response
 * of an unfinished stream aborts it. */
static int response_start(lua_State *L)
{
	struct mlb_exchange *exchange = check_exchange(L);
	struct mlb_http_header headers[MAX_HEADERS];
	unsigned int status = check_status(L);
	size_t count = read_headers(L, 3, headers);

	return push_result(L, mlb_exchange_start(exchange, status, headers, count), "start");
}

/* response:write(text) -> true | nil, message, code: queue bytes of a started stream. EPIPE: the client is gone or the stream is
 * finished; ENOBUFS: 64 MiB wait already, the connection was cut. */
static int response_write(lua_State *L)
{
	struct mlb_exchange *exchange = check_exchange(L);
	size_t length;
	const char *text = luaL_checklstring(L, 2, &length);

	luaL_argcheck(L, mlb_exchange_answered(exchange) || mlb_exchange_is_over(exchange), 1, "write before start");
	return push_result(L, mlb_exchange_write(exchange, text, length), "write");
}

/* response:finish(): end the stream after what is queued. Idempotent. */
static int response_finish(lua_State *L)
{
	struct mlb_exchange *exchange = check_exchange(L);

	luaL_argcheck(L, mlb_exchange_answered(exchange) || mlb_exchange_is_over(exchange), 1, "finish before start");
	mlb_exchange_finish(exchange);
	return 0;
}

/* response:abort(): cut the TCP connection at once (FIN, then RST). Idempotent. */
static int response_abort(lua_State *L)
{
	mlb_exchange_abort(check_exchange(L));
	return 0;
}

/* response:pending() -> bytes of the stream that wait in this process for the client to read */
static int response_pending(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)mlb_exchange_pending(check_exchange(L)));
	return 1;
}

/* response:on_close(fn): fn() is called once when the connection ends before the answer was delivered in full: the client left (noticed
 * on a quiet stream too), was cut off as too slow, or response:abort(). Not called after server:close(). Set it before the next turn of the loop; a
 * second one replaces the first. The response does not live on for it: it goes with the last reference that could write. */
static int response_on_close(lua_State *L)
{
	check_exchange(L);
	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	lua_setiuservalue(L, 1, ON_CLOSE);
	return 0;
}

/* Also a response that nobody can use any more answers: 500, or a cut stream. */
static int response_gc(lua_State *L)
{
	struct response *response = luaL_checkudata(L, 1, RESPONSE_MT);
	struct mlb_exchange *exchange = response->exchange;

	response->exchange = NULL;
	if (exchange)
		mlb_exchange_release(exchange);
	return 0;
}

static void push_decoded(lua_State *L, const char *text, size_t length, bool plus_is_space)
{
	luaL_Buffer buffer;
	char *decoded = luaL_buffinitsize(L, &buffer, length);

	luaL_pushresultsize(&buffer, mlb_uri_decode(text, length, plus_is_space, decoded));
}

/* moonlb.core.httpd.percent_decode(text) -> text (RFC 3986 section 2.1). A `%` without two hexadecimal digits stays. */
static int httpd_percent_decode(lua_State *L)
{
	size_t length;
	const char *text = luaL_checklstring(L, 1, &length);

	push_decoded(L, text, length, false);
	return 1;
}

/* moonlb.core.httpd.parse_query(raw or nil) -> {name = value}: `a=b&c` with `+` for a space; a name without `=` has the value "";
 * of repeated names the last wins. */
static int httpd_parse_query(lua_State *L)
{
	size_t length;
	const char *text = luaL_optlstring(L, 1, "", &length);
	const char *end = text + length;

	lua_newtable(L);
	while (text < end) {
		const char *stop = memchr(text, '&', (size_t)(end - text));
		const char *equals;

		stop = stop ? stop : end;
		equals = memchr(text, '=', (size_t)(stop - text));
		if (stop > text) {
			const char *value = equals ? equals + 1 : stop;

			push_decoded(L, text, (size_t)((equals ? equals : stop) - text), true);
			push_decoded(L, value, (size_t)(stop - value), true);
			lua_rawset(L, -3);
		}
		text = stop + 1;
	}
	return 1;
}

static const luaL_Reg functions[] = {
	{ "listen", httpd_listen },
	{ "parse_query", httpd_parse_query },
	{ "percent_decode", httpd_percent_decode },
	{ NULL, NULL },
};

static const luaL_Reg server_methods[] = {
	{ "address", server_address },
	{ "close", server_close },
	{ "port", server_port },
	{ NULL, NULL },
};

static const luaL_Reg server_metamethods[] = {
	{ "__close", server_close },
	{ "__gc", server_close },
	{ NULL, NULL },
};

static const luaL_Reg response_methods[] = {
	{ "abort", response_abort },
	{ "finish", response_finish },
	{ "on_close", response_on_close },
	{ "pending", response_pending },
	{ "send", response_send },
	{ "start", response_start },
	{ "write", response_write },
	{ NULL, NULL },
};

static const luaL_Reg response_metamethods[] = {
	{ "__gc", response_gc },
	{ NULL, NULL },
};

int luaopen_moonlb_core_httpd(lua_State *L);

int luaopen_moonlb_core_httpd(lua_State *L)
{
	mlb_new_class(L, SERVER_MT, server_methods, server_metamethods);
	mlb_new_class(L, RESPONSE_MT, response_methods, response_metamethods);
	lua_newtable(L);				/* responses */
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "v");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_rawsetp(L, LUA_REGISTRYINDEX, &responses_key);
	luaL_newlib(L, functions);
	return 1;
}
