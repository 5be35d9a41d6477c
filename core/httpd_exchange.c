/* One request and its answer. libmicrohttpd drives it by mlb_exchange_open, _advance, read_stream and _completed, all
 * inside MHD_run; its owner answers from the loop, never inside MHD_run, while the connection is suspended. */
#include "httpd_exchange.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_PENDING (64u << 20)
#define READ_BLOCK 32768

/* A client that sends on after the limit is heard out, so that it reads the 413, but not for ever. */
#define HEARD_OUT 4

void *mlb_exchange_open(void *server, const char *uri, struct MHD_Connection *connection)
{
	struct mlb_exchange *exchange = calloc(1, sizeof(*exchange));

	if (!exchange)
		return NULL;
	exchange->uri = strdup(uri);
	if (!exchange->uri) {
		free(exchange);
		return NULL;
	}
	exchange->server = server;
	exchange->connection = connection;
	exchange->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	mlb_httpd_enter(server, exchange);
	return exchange;
}

static void free_if_unused(struct mlb_exchange *exchange)
{
	if (exchange->references || exchange->connection || exchange->event != EVENT_NONE)
		return;
	if (exchange->response)
		MHD_destroy_response(exchange->response);
	mlb_bytes_free(&exchange->body);
	mlb_bytes_free(&exchange->queue);
	free(exchange->method);
	free(exchange->uri);
	free(exchange);
}

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void stop_hangup(struct mlb_exchange *exchange)
{
	if (exchange->hangup)
		uv_close((uv_handle_t *)exchange->hangup, free_handle);
	exchange->hangup = NULL;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned int status, const char *text)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result = MHD_NO;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", "text/plain");
	MHD_add_response_header(response, "Connection", "close");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer_too_large(struct mlb_exchange *exchange)
{
	exchange->is_answered = true;
	exchange->is_finished = true;
	return answer_text(exchange->connection, MHD_HTTP_CONTENT_TOO_LARGE, "request body too large\n");
}

/* The first call for a request: its headers are there. An announced length beyond the limit is refused before the body
 * (and before 100 Continue, RFC 9110 section 10.1.1). */
static enum MHD_Result begin(struct mlb_exchange *exchange, const char *method)
{
	const char *length = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, "Content-Length");

	exchange->is_read = true;
	exchange->method = strdup(method);
	if (!exchange->method)
		return MHD_NO;
	if (length && strtoull(length, NULL, 10) > mlb_httpd_max_body(exchange->server))
		return answer_too_large(exchange);
	return MHD_YES;
}

static enum MHD_Result collect(struct mlb_exchange *exchange, const char *upload, size_t *upload_length)
{
	size_t limit = mlb_httpd_max_body(exchange->server);
	size_t length = *upload_length;

	*upload_length = 0;
	if (!exchange->is_too_large) {
		int err = mlb_bytes_append(&exchange->body, upload, length, limit);

		if (err == -ENOMEM)
			return MHD_NO;
		if (!err)
			return MHD_YES;
		exchange->is_too_large = true;
		mlb_bytes_free(&exchange->body);
	}
	exchange->thrown_away += length;
	return exchange->thrown_away / HEARD_OUT > limit ? MHD_NO : MHD_YES;
}

/* Wait for the owner: libmicrohttpd asks again after mlb_exchange_resume. */
static void suspend(struct mlb_exchange *exchange)
{
	MHD_suspend_connection(exchange->connection);
	exchange->is_suspended = true;
}

void mlb_exchange_resume(struct mlb_exchange *exchange)
{
	if (!exchange->is_suspended)
		return;
	exchange->is_suspended = false;
	MHD_resume_connection(exchange->connection);
}

static enum MHD_Result give_response(struct mlb_exchange *exchange)
{
	enum MHD_Result result = MHD_queue_response(exchange->connection, exchange->status, exchange->response);

	MHD_destroy_response(exchange->response);
	exchange->response = NULL;
	return result;
}

enum MHD_Result mlb_exchange_advance(void *server, struct MHD_Connection *connection, const char *url,
				     const char *method, const char *version, const char *upload,
				     size_t *upload_length, void **context)
{
	struct mlb_exchange *exchange = *context;

	(void)connection;
	(void)url;	/* decoded in place by libmicrohttpd: exchange->uri is the text as sent */
	(void)version;
	if (!exchange || exchange->is_cut)
		return MHD_NO;
	if (!exchange->is_read)
		return begin(exchange, method);
	if (*upload_length)
		return collect(exchange, upload, upload_length);
	if (exchange->is_too_large)
		return answer_too_large(exchange);
	if (exchange->response)
		return give_response(exchange);
	suspend(exchange);
	mlb_httpd_post(server, exchange, EVENT_REQUEST);
	return MHD_YES;
}

void mlb_exchange_completed(void *server, struct MHD_Connection *connection, void **context,
			    enum MHD_RequestTerminationCode code)
{
	struct mlb_exchange *exchange = *context;

	(void)server;
	(void)connection;
	*context = NULL;
	if (!exchange)
		return;
	stop_hangup(exchange);
	exchange->connection = NULL;
	mlb_bytes_free(&exchange->queue);
	mlb_httpd_leave(exchange->server, exchange);
	if (exchange->references && !(code == MHD_REQUEST_TERMINATED_COMPLETED_OK && exchange->is_finished))
		mlb_httpd_post(exchange->server, exchange, EVENT_LOST);
	free_if_unused(exchange);
}

/* Content reader of a stream (microhttpd.h, MHD_ContentReaderCallback). */
static ssize_t read_stream(void *cls, uint64_t position, char *buffer, size_t size)
{
	struct mlb_exchange *exchange = cls;
	size_t length = mlb_bytes_length(&exchange->queue);

	(void)position;
	if (exchange->is_cut)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (length == 0 && exchange->is_finished)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (length == 0) {
		suspend(exchange);
		return 0;
	}
	if (length > size)
		length = size;
	memcpy(buffer, exchange->queue.data + exchange->queue.start, length);
	mlb_bytes_take(&exchange->queue, length);
	return (ssize_t)length;
}

/* The peer sent FIN or RST. libmicrohttpd does not look at a suspended connection, so a quiet stream would not notice. */
static void on_hangup(uv_poll_t *hangup, int status, int events)
{
	struct mlb_exchange *exchange = hangup->data;

	(void)status;
	(void)events;
	uv_poll_stop(hangup);
	if (!exchange->is_finished)
		mlb_exchange_abort(exchange);
}

static void watch_hangup(struct mlb_exchange *exchange)
{
	uv_poll_t *hangup = malloc(sizeof(*hangup));

	if (!hangup)
		return;
	if (uv_poll_init(mlb_httpd_loop(exchange->server), hangup, exchange->fd) != 0) {
		free(hangup);
		return;
	}
	hangup->data = exchange;
	uv_poll_start(hangup, UV_DISCONNECT, on_hangup);
	exchange->hangup = hangup;
}

static int add_headers(struct MHD_Response *response, const struct mlb_http_header *headers, size_t nheaders)
{
	for (size_t i = 0; i < nheaders; i++) {
		if (strcasecmp(headers[i].name, "Content-Length") == 0 ||
		    strcasecmp(headers[i].name, "Transfer-Encoding") == 0)
			return -EINVAL;	/* a second framing beside the server's would be a hole (RFC 9112 section 6.3) */
		if (MHD_add_response_header(response, headers[i].name, headers[i].value) != MHD_YES)
			return -EINVAL;
	}
	return 0;
}

/* Take `response` (or its absence) as the answer and let libmicrohttpd fetch it. */
static int answer(struct mlb_exchange *exchange, unsigned int status, struct MHD_Response *response,
		  const struct mlb_http_header *headers, size_t nheaders)
{
	int err = response ? add_headers(response, headers, nheaders) : -ENOMEM;

	if (err) {
		if (response)
			MHD_destroy_response(response);
		return err;
	}
	exchange->status = status;
	exchange->response = response;
	exchange->is_answered = true;
	mlb_exchange_resume(exchange);
	mlb_httpd_wake(exchange->server);
	return 0;
}

static int may_answer(const struct mlb_exchange *exchange)
{
	if (exchange->is_answered)
		return -EALREADY;
	return exchange->connection && !exchange->is_cut ? 0 : -EPIPE;
}

int mlb_exchange_send(struct mlb_exchange *exchange, unsigned int status, const struct mlb_http_header *headers,
		      size_t nheaders, const char *body, size_t length)
{
	int err = may_answer(exchange);

	if (err)
		return err;
	err = answer(exchange, status,
		     MHD_create_response_from_buffer(length, (void *)body, MHD_RESPMEM_MUST_COPY), headers, nheaders);
	exchange->is_finished = err == 0;
	return err;
}

int mlb_exchange_start(struct mlb_exchange *exchange, unsigned int status,
		       const struct mlb_http_header *headers, size_t nheaders)
{
	int err = may_answer(exchange);

	if (err)
		return err;
	err = answer(exchange, status,
		     MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, READ_BLOCK, read_stream, exchange, NULL),
		     headers, nheaders);
	if (err)
		return err;
	exchange->is_stream = true;
	watch_hangup(exchange);
	return 0;
}

int mlb_exchange_write(struct mlb_exchange *exchange, const char *data, size_t length)
{
	int err;

	if (!exchange->connection || exchange->is_cut || exchange->is_finished)
		return -EPIPE;
	err = mlb_bytes_append(&exchange->queue, data, length, MAX_PENDING);
	if (err) {
		mlb_exchange_abort(exchange);
		return err == -EMSGSIZE ? -ENOBUFS : err;
	}
	/* Not before the response was given: the suspended connection is then already due. */
	mlb_exchange_resume(exchange);
	mlb_httpd_wake(exchange->server);
	return 0;
}

void mlb_exchange_finish(struct mlb_exchange *exchange)
{
	exchange->is_finished = true;
	if (!exchange->connection || exchange->is_cut)
		return;
	mlb_exchange_resume(exchange);
	mlb_httpd_wake(exchange->server);
}

void mlb_exchange_abort(struct mlb_exchange *exchange)
{
	if (!exchange->connection || exchange->is_cut)
		return;
	exchange->is_cut = true;
	/* The peer sees it now; the zero linger makes libmicrohttpd's close(2) drop what is queued (socket(7)). */
	setsockopt(exchange->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
	shutdown(exchange->fd, SHUT_RDWR);
	mlb_exchange_resume(exchange);
	mlb_httpd_wake(exchange->server);
}

struct mlb_exchange *mlb_exchange_reference(struct mlb_exchange *exchange)
{
	exchange->references++;
	return exchange;
}

void mlb_exchange_release(struct mlb_exchange *exchange)
{
	static const char no_answer[] = "the server gave no answer\n";

	if (--exchange->references)
		return;
	if (exchange->connection && !exchange->is_answered)
		mlb_exchange_send(exchange, MHD_HTTP_INTERNAL_SERVER_ERROR, NULL, 0, no_answer, sizeof(no_answer) - 1);
	if (exchange->is_stream && !exchange->is_finished)
		mlb_exchange_abort(exchange);
	free_if_unused(exchange);
}

const char *mlb_exchange_method(const struct mlb_exchange *exchange)
{
	return exchange->method;
}

const char *mlb_exchange_uri(const struct mlb_exchange *exchange)
{
	return exchange->uri;
}

const char *mlb_exchange_body(const struct mlb_exchange *exchange, size_t *ret_length)
{
	*ret_length = mlb_bytes_length(&exchange->body);
	return exchange->body.data ? exchange->body.data + exchange->body.start : "";
}

struct visitor {
	void *to;
	void (*visit)(void *to, const char *name, const char *value, size_t value_length);
};

static enum MHD_Result visit_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_length,
				    const char *value, size_t value_length)
{
	struct visitor *visitor = cls;

	(void)kind;
	(void)name_length;	/* names are NUL-terminated */
	visitor->visit(visitor->to, name, value ? value : "", value ? value_length : 0);
	return MHD_YES;
}

void mlb_exchange_each_header(struct mlb_exchange *exchange, void *to,
			      void (*visit)(void *to, const char *name, const char *value, size_t value_length))
{
	struct visitor visitor = { .to = to, .visit = visit };

	if (exchange->connection)
		MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, visit_header, &visitor);
}

void mlb_exchange_remote(const struct mlb_exchange *exchange, char *ret_text, size_t size)
{
	static const char mapped[] = "::ffff:";
	struct sockaddr_storage peer;
	socklen_t length = sizeof(peer);
	char text[64] = "";

	if (exchange->connection && getpeername(exchange->fd, (struct sockaddr *)&peer, &length) == 0)
		getnameinfo((struct sockaddr *)&peer, length, text, sizeof(text), NULL, 0, NI_NUMERICHOST);
	if (strncmp(text, mapped, sizeof(mapped) - 1) == 0 && strchr(text, '.'))
		memmove(text, text + sizeof(mapped) - 1, strlen(text) - sizeof(mapped) + 2);
	strncpy(ret_text, text, size - 1);
	ret_text[size - 1] = '\0';
}

bool mlb_exchange_answered(const struct mlb_exchange *exchange)
{
	return exchange->is_answered;
}

size_t mlb_exchange_pending(const struct mlb_exchange *exchange)
{
	return mlb_bytes_length(&exchange->queue);
}

bool mlb_exchange_is_over(const struct mlb_exchange *exchange)
{
	return !exchange->connection;
}
