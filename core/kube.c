/* The client on the loop: two queues, the running transfers in one CURLM, delivery. libcurl is entered from the loop's callbacks
 * and from our callers, and never calls Lua: what ends goes to the list `done`, watches with whole lines to `lines`; both are
 * delivered when libcurl has returned. */
#include "kube.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_cut.h"
#include "kube_private.h"

#define MAX_QUEUED 50000
#define MAX_COUNTS 128
#define KEPT_CONNECTIONS 16	/* beside those in flight */

/* One turn of the loop delivers answers for so long, then lets others run. */
#define DELIVERY_NS 10000000

struct count {
	char method[8];
	int status;
	uint64_t count;
};

struct mlb_kube {
	uv_loop_t *loop;
	uv_timer_t timer;	/* libcurl's */
	uv_timer_t watchdog;	/* the next deadline of a queued request or quiet watch */
	uv_idle_t flush;	/* delivers what ended outside a callback of libcurl's descriptors */
	unsigned int open_handles;
	bool is_closed;
	bool is_released;
	CURLM *multi;
	struct mlb_kube_access access;
	unsigned int max_in_flight;
	struct mlb_transfer_list queued[2];	/* normal, low */
	struct mlb_transfer_list running;
	struct mlb_transfer_list done;
	struct mlb_transfer_list lines;
	struct mlb_kube_stats stats;
	struct count counts[MAX_COUNTS];
	size_t ncounts;
};

/* A descriptor of libcurl's on the loop. */
struct watched {
	uv_poll_t poll;
	curl_socket_t fd;
	struct mlb_kube *client;
};

static void advance(struct mlb_kube *client);
static void on_watchdog(uv_timer_t *timer);

const struct mlb_kube_access *mlb_kube_access_of(const struct mlb_kube *client)
{
	return &client->access;
}

uint64_t mlb_kube_now(const struct mlb_kube *client)
{
	return uv_now(client->loop);
}

void mlb_kube_note_lines(struct mlb_kube *client, struct mlb_transfer *transfer)
{
	if (transfer->has_lines)
		return;
	transfer->has_lines = true;
	TAILQ_INSERT_TAIL(&client->lines, transfer, lines_link);
}

static void on_flush(uv_idle_t *flush)
{
	advance(flush->data);
}

static void wake(struct mlb_kube *client)
{
	uv_idle_start(&client->flush, on_flush);
}

static void count_answer(struct mlb_kube *client, const struct mlb_transfer *transfer)
{
	struct count *count = client->counts;

	client->stats.requests++;
	if (transfer->status == 0) {
		client->stats.errors++;
		return;
	}
	for (size_t i = 0; i < client->ncounts; i++, count++) {
		if (count->status == transfer->status && strcmp(count->method, transfer->method) == 0) {
			count->count++;
			return;
		}
	}
	if (client->ncounts == MAX_COUNTS)
		return;
	client->ncounts++;
	strncpy(count->method, transfer->method, sizeof(count->method) - 1);
	count->status = transfer->status;
	count->count = 1;
}

/* Take a transfer off its list and out of libcurl. */
static void detach(struct mlb_transfer *transfer)
{
	struct mlb_kube *client = transfer->client;

	if (transfer->state == TRANSFER_QUEUED) {
		TAILQ_REMOVE(&client->queued[transfer->is_low], transfer, link);
		client->stats.queued--;
	} else if (transfer->state == TRANSFER_RUNNING) {
		TAILQ_REMOVE(&client->running, transfer, link);
		*(transfer->is_watch ? &client->stats.watches : &client->stats.in_flight) -= 1;
		curl_multi_remove_handle(client->multi, transfer->easy);
		mlb_transfer_dismantle(transfer);
	} else {
		TAILQ_REMOVE(&client->done, transfer, link);
	}
}

static void set_done(struct mlb_transfer *transfer)
{
	transfer->state = TRANSFER_DONE;
	TAILQ_INSERT_TAIL(&transfer->client->done, transfer, link);
	wake(transfer->client);
}

/* End a transfer that is not in libcurl's hands at this moment with an outcome of our own. */
static void end(struct mlb_transfer *transfer, const char *code, const char *cause)
{
	detach(transfer);
	transfer->status = 0;
	mlb_transfer_fail(transfer, code, cause);
	count_answer(transfer->client, transfer);
	set_done(transfer);
}

static void discard(struct mlb_transfer *transfer)
{
	if (transfer->has_lines)
		TAILQ_REMOVE(&transfer->client->lines, transfer, lines_link);
	detach(transfer);
	mlb_transfer_free(transfer);
}

/* Hand a transfer that is on no list to libcurl. */
static void start(struct mlb_kube *client, struct mlb_transfer *transfer)
{
	mlb_kube_access_refresh(&client->access, uv_now(client->loop), false);
	if (mlb_transfer_prepare(transfer, &client->access, uv_now(client->loop)) != 0 ||
	    curl_multi_add_handle(client->multi, transfer->easy) != CURLM_OK) {
		mlb_transfer_dismantle(transfer);
		mlb_transfer_fail(transfer, "ENOMEM", "libcurl did not take it");
		set_done(transfer);
		return;
	}
	transfer->state = TRANSFER_RUNNING;
	TAILQ_INSERT_TAIL(&client->running, transfer, link);
	*(transfer->is_watch ? &client->stats.watches : &client->stats.in_flight) += 1;
}

static void start_queued(struct mlb_kube *client)
{
	while (client->stats.in_flight < client->max_in_flight && client->stats.queued) {
		struct mlb_transfer *transfer = TAILQ_FIRST(&client->queued[0]);

		if (!transfer)
			transfer = TAILQ_FIRST(&client->queued[1]);
		TAILQ_REMOVE(&client->queued[transfer->is_low], transfer, link);
		client->stats.queued--;
		start(client, transfer);
	}
}

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
	start(client, transfer);
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
		detach(transfer);
		count_answer(client, transfer);
		if (must_retry(client, transfer))
			retry(client, transfer);
		else
			set_done(transfer);
	}
	start_queued(client);
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
		discard(transfer);
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

static void on_handle_closed(uv_handle_t *handle)
{
	struct mlb_kube *client = handle->data;

	client->open_handles--;
	if (client->is_released && client->open_handles == 0)
		free(client);
}

static void close_flush(struct mlb_kube *client)
{
	if (!uv_is_closing((uv_handle_t *)&client->flush))
		uv_close((uv_handle_t *)&client->flush, on_handle_closed);
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
			wake(client);
			return;
		}
		deliver_end(transfer);
	}
	if (client->is_closed)
		close_flush(client);
}

static void advance(struct mlb_kube *client)
{
	uv_idle_stop(&client->flush);
	if (!client->is_closed)
		collect(client);
	deliver(client);
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

static void arm_watchdog(struct mlb_kube *client, uint64_t deadline_ms)
{
	uint64_t now_ms = uv_now(client->loop);
	uint64_t delay_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;

	if (uv_is_active((uv_handle_t *)&client->watchdog) && uv_timer_get_due_in(&client->watchdog) <= delay_ms)
		return;
	uv_timer_start(&client->watchdog, on_watchdog, delay_ms, 0);
}

/* End what is overdue in the list; arm for the next. libcurl itself keeps the deadlines of what is running. */
static void check_deadlines(struct mlb_kube *client, struct mlb_transfer_list *list)
{
	uint64_t now_ms = uv_now(client->loop);
	struct mlb_transfer *next;

	for (struct mlb_transfer *transfer = TAILQ_FIRST(list); transfer; transfer = next) {
		bool is_queued = transfer->state == TRANSFER_QUEUED;
		uint64_t deadline_ms = is_queued ? transfer->deadline_ms : 0;

		next = TAILQ_NEXT(transfer, link);
		if (!is_queued && transfer->idle_ms)
			deadline_ms = transfer->last_byte_ms + transfer->idle_ms;
		if (!deadline_ms)
			continue;
		if (deadline_ms > now_ms)
			arm_watchdog(client, deadline_ms);
		else
			end(transfer, "ETIMEDOUT", is_queued ? "timed out in the queue" : "the stream went silent");
	}
}

static void on_watchdog(uv_timer_t *timer)
{
	struct mlb_kube *client = timer->data;

	check_deadlines(client, &client->queued[0]);
	check_deadlines(client, &client->queued[1]);
	check_deadlines(client, &client->running);
}

static int open_multi(struct mlb_kube *client)
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

int mlb_kube_open(uv_loop_t *loop, const struct mlb_kube_options *options, struct mlb_kube **ret_client,
		  char *ret_problem, size_t size)
{
	static bool is_initialized;
	struct mlb_kube *client = calloc(1, sizeof(*client));
	int err;

	if (!client)
		return -ENOMEM;
	if (!is_initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		abort();	/* it cannot fail but for want of memory */
	is_initialized = true;
	client->loop = loop;
	client->max_in_flight = options->max_in_flight;
	TAILQ_INIT(&client->queued[0]);
	TAILQ_INIT(&client->queued[1]);
	TAILQ_INIT(&client->running);
	TAILQ_INIT(&client->done);
	TAILQ_INIT(&client->lines);
	err = mlb_kube_access_open(&client->access, options, uv_now(loop), ret_problem, size);
	if (!err)
		err = open_multi(client);
	if (err) {
		mlb_kube_access_close(&client->access);
		free(client);
		return err;
	}
	uv_timer_init(loop, &client->timer);
	uv_timer_init(loop, &client->watchdog);
	uv_idle_init(loop, &client->flush);
	client->timer.data = client->watchdog.data = client->flush.data = client;
	client->open_handles = 3;
	*ret_client = client;
	return 0;
}

int mlb_kube_set_token(struct mlb_kube *client, const char *token)
{
	return mlb_kube_access_set_token(&client->access, token);
}

static void end_all(struct mlb_transfer_list *list)
{
	struct mlb_transfer *transfer;

	while ((transfer = TAILQ_FIRST(list)))
		end(transfer, "ECANCELED", "the client was closed");
}

void mlb_kube_close(struct mlb_kube *client)
{
	if (client->is_closed)
		return;
	client->is_closed = true;
	end_all(&client->queued[0]);
	end_all(&client->queued[1]);
	end_all(&client->running);
	curl_multi_cleanup(client->multi);
	client->multi = NULL;
	uv_close((uv_handle_t *)&client->timer, on_handle_closed);
	uv_close((uv_handle_t *)&client->watchdog, on_handle_closed);
	wake(client);
}

void mlb_kube_release(struct mlb_kube *client)
{
	struct mlb_transfer *transfer;

	mlb_kube_close(client);
	while ((transfer = TAILQ_FIRST(&client->done)))
		discard(transfer);
	mlb_kube_access_close(&client->access);
	client->is_released = true;
	close_flush(client);
	if (client->open_handles == 0)
		free(client);
}

static struct mlb_transfer *new_transfer(struct mlb_kube *client, const char *method, const char *path,
					 const char *content_type, const char *accept, uint64_t timeout_ms)
{
	struct mlb_transfer *transfer = calloc(1, sizeof(*transfer));

	if (!transfer)
		return NULL;
	transfer->client = client;
	transfer->method = strdup(method);
	transfer->path = strdup(path);
	transfer->content_type = strdup(content_type);
	transfer->accept = strdup(accept);
	transfer->deadline_ms = timeout_ms ? uv_now(client->loop) + timeout_ms : 0;
	if (transfer->method && transfer->path && transfer->content_type && transfer->accept)
		return transfer;
	mlb_transfer_free(transfer);
	return NULL;
}

static int copy_body(struct mlb_transfer *transfer, const struct mlb_kube_request *request)
{
	if (!request->body)
		return 0;
	transfer->request_body = malloc(request->body_length + 1);
	if (!transfer->request_body)
		return -ENOMEM;
	memcpy(transfer->request_body, request->body, request->body_length);
	transfer->request_body[request->body_length] = '\0';
	transfer->request_length = request->body_length;
	return 0;
}

static void enqueue(struct mlb_kube *client, struct mlb_transfer *transfer)
{
	if (client->stats.queued >= MAX_QUEUED) {
		mlb_transfer_fail(transfer, "EAGAIN", "50000 requests wait already");
		set_done(transfer);
		return;
	}
	transfer->state = TRANSFER_QUEUED;
	TAILQ_INSERT_TAIL(&client->queued[transfer->is_low], transfer, link);
	client->stats.queued++;
	start_queued(client);
	if (transfer->state == TRANSFER_QUEUED && transfer->deadline_ms)
		arm_watchdog(client, transfer->deadline_ms);
}

struct mlb_transfer *mlb_kube_request(struct mlb_kube *client, const struct mlb_kube_request *request,
				      const struct mlb_kube_callbacks *callbacks)
{
	struct mlb_transfer *transfer;

	uv_update_time(client->loop);	/* a callback may have run for long: deadlines count from now */
	transfer = new_transfer(client, request->method, request->path, request->content_type, request->accept,
				request->timeout_ms);
	if (!transfer)
		return NULL;
	if (copy_body(transfer, request) != 0) {
		mlb_transfer_free(transfer);
		return NULL;
	}
	transfer->callbacks = *callbacks;
	transfer->limit = request->max_bytes;
	transfer->is_low = request->is_low;
	transfer->keep_managed = request->keep_managed;
	enqueue(client, transfer);
	return transfer;
}

struct mlb_transfer *mlb_kube_watch(struct mlb_kube *client, const struct mlb_kube_watch *watch,
				    const struct mlb_kube_callbacks *callbacks)
{
	struct mlb_transfer *transfer;

	uv_update_time(client->loop);
	transfer = new_transfer(client, "GET", watch->path, "", "application/json", watch->timeout_ms);
	if (!transfer)
		return NULL;
	transfer->callbacks = *callbacks;
	transfer->is_watch = true;
	transfer->limit = watch->max_line;
	transfer->idle_ms = watch->idle_ms;
	start(client, transfer);
	if (transfer->idle_ms)
		arm_watchdog(client, uv_now(client->loop) + transfer->idle_ms);
	return transfer;
}

void mlb_kube_cancel(struct mlb_transfer *transfer)
{
	end(transfer, "ECANCELED", "cancelled");
}

void mlb_kube_end_watch(struct mlb_transfer *transfer)
{
	if (transfer->is_delivering)
		transfer->is_ended = true;
	else
		discard(transfer);
}

void mlb_kube_stats(const struct mlb_kube *client, struct mlb_kube_stats *ret_stats)
{
	*ret_stats = client->stats;
}

bool mlb_kube_count(const struct mlb_kube *client, size_t index, const char **ret_method, int *ret_status,
		    uint64_t *ret_count)
{
	if (index >= client->ncounts)
		return false;
	*ret_method = client->counts[index].method;
	*ret_status = client->counts[index].status;
	*ret_count = client->counts[index].count;
	return true;
}
