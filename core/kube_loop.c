/* libcurl on the loop, and delivery. libcurl is entered from the loop's callbacks and from the client's callers, and never calls
 * Lua: what ends goes to the list `done`, watches with whole lines to `lines`; both are delivered when libcurl has returned. */
#include <stdlib.h>
#include <string.h>

#include "json_cut.h"
#include "kube_private.h"

#define KEPT_CONNECTIONS 16	/* beside those in flight */

/* One turn of the loop delivers answers for so long, then lets others run. */
#define DELIVERY_NS 10000000

/* A descriptor of libcurl's on the loop. */
struct watched {
	uv_poll_t poll;
	curl_socket_t fd;
	struct mlb_kube *client;
};

/* Refused as unauthorized with a token that is not the newest: a mounted token was replaced. Once. */
static bool must_retry(struct mlb_kube *client, struct mlb_transfer *transfer)
{
	if (transfer->status != 401 || transfer->was_retried || !client->access.token_file)
		return false;
	if (transfer->token_generation == client->access.token_generation)
		mlb_kube_access_refresh(&client->access, uv_now(client->loop), true);
	return transfer->token_generation != client->access.token_generation;
}

static void retry(struct mlb_kube *client, struct mlb_transfer *transfer)
{
	transfer->was_retried = true;
	transfer->is_too_large = false;
	transfer->status = 0;
	transfer->code = NULL;
	transfer->message[0] = '\0';
	free(transfer->answer_type);
	transfer->answer_type = NULL;
	mlb_bytes_free(&transfer->body);
	mlb_kube_start(client, transfer);
}

/* Take what libcurl has finished. */
static void collect(struct mlb_kube *client)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client->multi, &left))) {
		struct mlb_transfer *transfer = NULL;
		CURLcode result = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		mlb_transfer_conclude(transfer, result);
		mlb_kube_detach(transfer);
		mlb_kube_count_answer(client, transfer);
		if (must_retry(client, transfer))
			retry(client, transfer);
		else
			mlb_kube_set_done(transfer);
	}
	mlb_kube_start_queued(client);
}

/* Hand out the whole lines of a watch, unless its owner ends it meanwhile. */
static void deliver_lines(struct mlb_transfer *transfer)
{
	struct mlb_bytes *body = &transfer->body;

	transfer->is_delivering = true;
	while (!transfer->is_ended && !transfer->client->is_closed && mlb_bytes_length(body)) {
		char *line = body->data + body->start;
		char *newline = memchr(line, '\n', mlb_bytes_length(body));
		size_t length;

		if (!newline)
			break;
		length = mlb_json_cut(line, (size_t)(newline - line));
		if (length)
			transfer->callbacks.on_line(transfer->callbacks.owner, line, length);
		mlb_bytes_take(body, (size_t)(newline - line) + 1);
	}
	transfer->is_delivering = false;
	if (transfer->is_ended)
		mlb_kube_discard(transfer);
}

static void deliver_end(struct mlb_transfer *transfer)
{
	const struct mlb_kube_failure failure = {
		.message = transfer->message,
		.code = transfer->code,
		.status = transfer->status,
		.body = transfer->body.data ? transfer->body.data + transfer->body.start : "",
		.body_length = mlb_bytes_length(&transfer->body),
		.retry_after_s = transfer->retry_after_s,
	};
	const struct mlb_kube_answer answer = {
		.status = transfer->status,
		.body = failure.body,
		.body_length = failure.body_length,
		.content_type = transfer->answer_type,
		.retry_after_s = transfer->retry_after_s,
	};

	TAILQ_REMOVE(&transfer->client->done, transfer, link);
	if (transfer->is_watch)
		transfer->callbacks.on_end(transfer->callbacks.owner, transfer->message[0] ? &failure : NULL);
	else
		transfer->callbacks.on_answer(transfer->callbacks.owner, transfer->message[0] ? &failure : NULL, &answer);
	mlb_transfer_free(transfer);
}

/* Tell the owners. Each callback may end any transfer, or close the client. */
static void deliver(struct mlb_kube *client)
{
	uint64_t until = uv_hrtime() + DELIVERY_NS;
	struct mlb_transfer *transfer;

	while (!client->is_released && (transfer = TAILQ_FIRST(&client->lines))) {
		TAILQ_REMOVE(&client->lines, transfer, lines_link);
		transfer->has_lines = false;
		deliver_lines(transfer);
	}
	while (!client->is_released && (transfer = TAILQ_FIRST(&client->done))) {
		if (uv_hrtime() > until) {
			mlb_kube_wake(client);
			return;
		}
		deliver_end(transfer);
	}
	if (client->is_closed)
		mlb_kube_close_flush(client);
}

static void advance(struct mlb_kube *client)
{
	uv_idle_stop(&client->flush);
	if (!client->is_closed)
		collect(client);
	deliver(client);
}

static void on_flush(uv_idle_t *flush)
{
	advance(flush->data);
}

void mlb_kube_wake(struct mlb_kube *client)
{
	uv_idle_start(&client->flush, on_flush);
}

static void on_timer(uv_timer_t *timer)
{
	struct mlb_kube *client = timer->data;
	int running;

	curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	advance(client);
}

/* CURLMOPT_TIMERFUNCTION: only arms; calling curl_multi_socket_action from here would recurse. */
static int set_timer(CURLM *multi, long timeout_ms, void *context)
{
	struct mlb_kube *client = context;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&client->timer);
	else
		uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct watched *watched = poll->data;
	struct mlb_kube *client = watched->client;
	int flags = 0, running;

	/* Let libcurl meet the socket's error itself: told CURL_CSELECT_ERR, it neither names the cause nor tries a request
	 * again whose kept connection was dead. */
	if (status < 0)
		flags = CURL_CSELECT_IN | CURL_CSELECT_OUT;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(client->multi, watched->fd, flags, &running);
	advance(client);
}

static void free_watched(uv_handle_t *handle)
{
	free(handle->data);
}

/* CURLMOPT_SOCKETFUNCTION; libcurl closes the descriptor after CURL_POLL_REMOVE. */
static int set_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *assigned)
{
	struct mlb_kube *client = context;
	struct watched *watched = assigned;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watched)
			uv_close((uv_handle_t *)&watched->poll, free_watched);
		return 0;
	}
	if (!watched) {
		watched = calloc(1, sizeof(*watched));
		if (!watched)
			return -1;
		watched->fd = fd;
		watched->client = client;
		watched->poll.data = watched;
		if (uv_poll_init(client->loop, &watched->poll, fd) != 0) {
			free(watched);
			return -1;
		}
		curl_multi_assign(client->multi, fd, watched);
	}
	uv_poll_start(&watched->poll, (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
		      on_ready);
	return 0;
}

int mlb_kube_open_multi(struct mlb_kube *client)
{
	client->multi = curl_multi_init();
	if (!client->multi)
		return -ENOMEM;
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)(client->max_in_flight + KEPT_CONNECTIONS));
	return 0;
}
