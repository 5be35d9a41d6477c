/* The daemon on the loop. MHD_run is called when its epoll descriptor is readable, when its timer is due, and, by the idle handle, in
 * the loop turn after an answer: an active idle handle keeps the loop from sleeping before that. */
#include "httpd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "httpd_exchange.h"
#include "log.h"

/* Of each connection: its request line and headers must fit. */
#define CONNECTION_MEMORY 32768

struct mlb_httpd {
	uv_loop_t *loop;
	uv_poll_t poll;
	uv_timer_t timer;
	uv_idle_t flush;
	unsigned int open_handles;
	struct MHD_Daemon *daemon;	/* NULL: closed */
	struct mlb_httpd_handler handler;
	struct sockaddr_storage address;
	size_t max_body;
	struct mlb_exchange_list open;
	struct mlb_exchange_list events;
};

void mlb_httpd_enter(struct mlb_httpd *server, struct mlb_exchange *exchange)
{
	TAILQ_INSERT_TAIL(&server->open, exchange, open_link);
}

void mlb_httpd_leave(struct mlb_httpd *server, struct mlb_exchange *exchange)
{
	TAILQ_REMOVE(&server->open, exchange, open_link);
}

void mlb_httpd_post(struct mlb_httpd *server, struct mlb_exchange *exchange, int event)
{
	if (exchange->event == EVENT_NONE)
		TAILQ_INSERT_TAIL(&server->events, exchange, event_link);
	exchange->event = event;
}

size_t mlb_httpd_max_body(const struct mlb_httpd *server)
{
	return server->max_body;
}

uv_loop_t *mlb_httpd_loop(const struct mlb_httpd *server)
{
	return server->loop;
}

static struct mlb_exchange *next_event(struct mlb_httpd *server, int *ret_event)
{
	struct mlb_exchange *exchange = TAILQ_FIRST(&server->events);

	if (!exchange)
		return NULL;
	TAILQ_REMOVE(&server->events, exchange, event_link);
	mlb_exchange_reference(exchange);	/* before the event lets go of it */
	*ret_event = exchange->event;
	exchange->event = EVENT_NONE;
	return exchange;
}

/* Tell the owner what MHD_run has collected. It may answer, abort, close the server: nothing here is inside MHD_run. */
static void deliver(struct mlb_httpd *server)
{
	struct mlb_exchange *exchange;
	int event;

	while (server->daemon && (exchange = next_event(server, &event))) {
		if (event == EVENT_REQUEST)
			server->handler.on_request(server->handler.owner, exchange);
		else
			server->handler.on_lost(server->handler.owner, exchange);
		mlb_exchange_release(exchange);
	}
}

static void on_timer(uv_timer_t *timer);

static void set_timer(struct mlb_httpd *server)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	if (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES)
		uv_timer_start(&server->timer, on_timer, timeout_ms, 0);
	else
		uv_timer_stop(&server->timer);
}

static void run(struct mlb_httpd *server)
{
	uv_idle_stop(&server->flush);
	MHD_run(server->daemon);
	deliver(server);
	if (server->daemon)
		set_timer(server);
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_flush(uv_idle_t *flush)
{
	run(flush->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run(poll->data);
}

void mlb_httpd_wake(struct mlb_httpd *server)
{
	uv_idle_start(&server->flush, on_flush);
}

static void write_log(void *cls, const char *format, va_list args)
{
	char line[512];

	(void)cls;
	if (!mlb_log_enabled(MLB_LOG_DEBUG))
		return;
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = '\0';
	mlb_log(MLB_LOG_DEBUG, "httpd: %s", line);
}

/* libmicrohttpd decodes path and query in place; nobody reads its copy, and this keeps NULs out of it. */
static size_t leave_encoded(void *cls, struct MHD_Connection *connection, char *text)
{
	(void)cls;
	(void)connection;
	return strlen(text);
}

/* A listening socket bound to `address`, which gets its port filled in; or -errno. */
static int open_socket(struct sockaddr_storage *address)
{
	socklen_t length = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (address->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 0 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)address, length) == 0 && listen(fd, SOMAXCONN) == 0 &&
	    getsockname(fd, (struct sockaddr *)address, &length) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static struct MHD_Daemon *start_daemon(struct mlb_httpd *server, int fd, const struct mlb_httpd_options *options)
{
	unsigned int flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

	if (options->address.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	return MHD_start_daemon(flags, 0, NULL, NULL, mlb_exchange_advance, server,
				MHD_OPTION_EXTERNAL_LOGGER, write_log, NULL,	/* first: it is used while the rest is read */
				MHD_OPTION_LISTEN_SOCKET, fd,
				MHD_OPTION_NOTIFY_COMPLETED, mlb_exchange_completed, server,
				MHD_OPTION_URI_LOG_CALLBACK, mlb_exchange_open, server,
				MHD_OPTION_UNESCAPE_CALLBACK, leave_encoded, NULL,
				MHD_OPTION_CONNECTION_LIMIT, options->max_connections,
				MHD_OPTION_CONNECTION_TIMEOUT, options->idle_timeout_s,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
				MHD_OPTION_END);
}

static void start_handles(struct mlb_httpd *server)
{
	int epoll_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

	uv_poll_init(server->loop, &server->poll, epoll_fd);
	uv_timer_init(server->loop, &server->timer);
	uv_idle_init(server->loop, &server->flush);
	server->poll.data = server;
	server->timer.data = server;
	server->flush.data = server;
	server->open_handles = 3;
	uv_poll_start(&server->poll, UV_READABLE, on_readable);
	set_timer(server);
}

int mlb_httpd_open(uv_loop_t *loop, const struct mlb_httpd_options *options,
		   const struct mlb_httpd_handler *handler, struct mlb_httpd **ret_server)
{
	struct mlb_httpd *server = calloc(1, sizeof(*server));
	int fd;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->handler = *handler;
	server->address = options->address;
	server->max_body = options->max_body;
	TAILQ_INIT(&server->open);
	TAILQ_INIT(&server->events);
	fd = open_socket(&server->address);
	if (fd < 0) {
		free(server);
		return fd;
	}
	server->daemon = start_daemon(server, fd, options);	/* owns fd, also when it fails */
	if (!server->daemon) {
		free(server);
		return -ENOMEM;
	}
	start_handles(server);
	*ret_server = server;
	return 0;
}

void mlb_httpd_address(const struct mlb_httpd *server, struct sockaddr_storage *ret_address)
{
	*ret_address = server->address;
}

static void on_closed(uv_handle_t *handle)
{
	struct mlb_httpd *server = handle->data;

	if (--server->open_handles == 0)
		free(server);
}

void mlb_httpd_close(struct mlb_httpd *server)
{
	struct MHD_Daemon *daemon = server->daemon;
	struct mlb_exchange *exchange;
	int event;

	if (!daemon)
		return;
	server->daemon = NULL;
	uv_poll_stop(&server->poll);
	TAILQ_FOREACH(exchange, &server->open, open_link) {
		exchange->is_finished = true;	/* so that releasing the owner's reference starts nothing */
		exchange->is_answered = true;
		exchange->is_cut = true;
		mlb_exchange_resume(exchange);	/* libmicrohttpd aborts on suspended connections when it stops */
	}
	MHD_stop_daemon(daemon);
	while ((exchange = next_event(server, &event)))
		mlb_exchange_release(exchange);
	uv_close((uv_handle_t *)&server->poll, on_closed);
	uv_close((uv_handle_t *)&server->timer, on_closed);
	uv_close((uv_handle_t *)&server->flush, on_closed);
}
