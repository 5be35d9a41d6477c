#include "edit.h"

#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <wchar.h>

#include <histedit.h>

#include "sanitized.h"
#if MLB_SANITIZED
#include <sanitizer/lsan_interface.h>
#endif

struct mlb_edit {
	EditLine *line;
	History *history;
	HistEvent event;		/* of the last operation on the history */
	const char *prompt;
	char *text;			/* the line as it was returned */
	char *file;			/* NULL: the history is not kept */
	char *last;			/* what was remembered last */
	int idle_ms;			/* how long to wait for a key; < 0: for ever */
	int failure;			/* why reading a key failed: 0, EINTR, ETIMEDOUT */
	mlb_edit_complete_fn *complete;
	void *data;
};

static volatile sig_atomic_t interrupts, has_resized;

static void on_interrupt(int number)
{
	if (++interrupts < 2)
		return;
	signal(number, SIG_DFL);	/* what runs does not look at the flag: only the end helps */
	raise(number);
}

static void on_resize(int number)
{
	(void)number;
	has_resized = 1;
}

int mlb_edit_catch_interrupts(void)
{
	struct sigaction action = { .sa_handler = on_interrupt };	/* without SA_RESTART: a read must end */

	return sigaction(SIGINT, &action, NULL) < 0 ? -errno : 0;
}

bool mlb_edit_interrupted(void)
{
	bool was = interrupts > 0;

	interrupts = 0;
	return was;
}

static struct mlb_edit *edit_of(EditLine *line)
{
	void *data = NULL;

	el_get(line, EL_CLIENTDATA, &data);
	return data;
}

static char *prompt_of(EditLine *line)
{
	return (char *)edit_of(line)->prompt;
}

/* One byte of the terminal: 1; 0 at the end; -1 and errno. */
static ssize_t read_byte(int idle_ms, char *ret_byte)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	int ready = poll(&input, 1, idle_ms);

	if (ready > 0)
		return read(STDIN_FILENO, ret_byte, 1);
	if (ready == 0)
		errno = ETIMEDOUT;
	return -1;
}

/* One character of the terminal: libedit's own would hide Ctrl-C and a new size. 1, 0 at the end, -1. */
static int read_key(EditLine *line, wchar_t *ret_key)
{
	struct mlb_edit *edit = edit_of(line);
	mbstate_t state = { 0 };
	size_t taken;
	ssize_t got;
	char byte;

	for (;;) {
		if (has_resized) {
			has_resized = 0;
			el_resize(line);
		}
		got = read_byte(edit->idle_ms, &byte);
		if (got == 0)
			return 0;
		if (got < 0 && errno == EINTR && !interrupts)
			continue;
		if (got < 0) {
			edit->failure = errno == EINTR || errno == ETIMEDOUT ? errno : 0;
			return -1;
		}
		taken = mbrtowc(ret_key, &byte, 1, &state);
		if (taken == 0 || taken == 1)
			return 1;
		if (taken == (size_t)-1)	/* no UTF-8: dropped */
			memset(&state, 0, sizeof(state));
	}
}

/* Bound to Tab. */
static unsigned char complete(EditLine *line, int key)
{
	struct mlb_edit *edit = edit_of(line);
	const LineInfo *info = el_line(line);
	struct mlb_edit_completion found = { "", "" };

	(void)key;
	if (!edit->complete)
		return CC_ERROR;
	edit->complete(edit->data, info->buffer, (size_t)(info->cursor - info->buffer), &found);
	if (*found.insert)
		el_insertstr(line, found.insert);
	if (*found.shown) {
		printf("\n%s\n", found.shown);
		fflush(stdout);
		return CC_REDISPLAY;
	}
	return *found.insert ? CC_REFRESH : CC_ERROR;
}

static int open_history(struct mlb_edit *edit, const char *file, int size)
{
	edit->history = history_init();
	if (!edit->history)
		return -ENOMEM;
	history(edit->history, &edit->event, H_SETSIZE, size);
	if (!file)
		return 0;
	edit->file = strdup(file);
	if (!edit->file)
		return -ENOMEM;
	history(edit->history, &edit->event, H_LOAD, file);	/* absent the first time */
	return 0;
}

/* libedit 3.1 copies the function's name and help, and el_end leaves both: 128 bytes a process, which LeakSanitizer need not
 * tell us of each time. */
static void add_completion(EditLine *line)
{
#if MLB_SANITIZED
	__lsan_disable();
#endif
	el_set(line, EL_ADDFN, "moonlb-complete", "complete a name", complete);
#if MLB_SANITIZED
	__lsan_enable();
#endif
}

static void bind_keys(EditLine *line)
{
	static const char *const homes[] = { "\033[H", "\033OH", "\033[1~", "\033[7~" };
	static const char *const ends[] = { "\033[F", "\033OF", "\033[4~", "\033[8~" };

	el_set(line, EL_EDITOR, "emacs");
	add_completion(line);
	el_set(line, EL_BIND, "^I", "moonlb-complete", NULL);
	el_set(line, EL_BIND, "^R", "em-inc-search-prev", NULL);
	/* What terminals send for Home, End, Delete. TERM may not tell: in a container it says xterm of each of them. */
	for (size_t i = 0; i < sizeof(homes) / sizeof(*homes); i++) {
		el_set(line, EL_BIND, homes[i], "ed-move-to-beg", NULL);
		el_set(line, EL_BIND, ends[i], "ed-move-to-end", NULL);
	}
	el_set(line, EL_BIND, "\033[3~", "ed-delete-next-char", NULL);
}

int mlb_edit_open(const char *file, int size, mlb_edit_complete_fn *fn, void *data, struct mlb_edit **ret_edit)
{
	struct mlb_edit *edit = calloc(1, sizeof(*edit));
	struct sigaction action = { .sa_handler = on_resize };
	int result;

	if (!edit)
		return -ENOMEM;
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		setlocale(LC_CTYPE, "");
	edit->complete = fn;
	edit->data = data;
	result = open_history(edit, file, size);
	sigaction(SIGWINCH, &action, NULL);	/* first: the size may change while the terminal is looked at */
	if (result == 0)
		edit->line = el_init("moonlb", stdin, stdout, stderr);
	if (!edit->line) {
		mlb_edit_close(edit);
		return result < 0 ? result : -ENOTTY;
	}
	el_set(edit->line, EL_CLIENTDATA, edit);
	el_set(edit->line, EL_PROMPT, prompt_of);
	el_set(edit->line, EL_HIST, history, edit->history);
	el_set(edit->line, EL_GETCFN, read_key);
	el_set(edit->line, EL_SIGNAL, 0);
	bind_keys(edit->line);
	*ret_edit = edit;
	return 0;
}

int mlb_edit_read(struct mlb_edit *edit, const char *prompt, int idle_ms, const char **ret_line)
{
	const char *text;
	int length = 0;

	edit->prompt = prompt;
	edit->idle_ms = idle_ms;
	edit->failure = 0;
	interrupts = 0;
	text = el_gets(edit->line, &length);
	if (edit->failure) {
		interrupts = 0;
		el_reset(edit->line);
		return -edit->failure;
	}
	free(edit->text);
	edit->text = NULL;
	if (!text || length <= 0) {
		*ret_line = NULL;
		return length < 0 ? -EIO : 0;
	}
	edit->text = strndup(text, (size_t)length);
	if (!edit->text)
		return -ENOMEM;
	edit->text[strcspn(edit->text, "\n")] = '\0';
	*ret_line = edit->text;
	return 0;
}

void mlb_edit_remember(struct mlb_edit *edit, const char *text)
{
	if (edit->last && strcmp(edit->last, text) == 0)
		return;
	free(edit->last);
	edit->last = strdup(text);
	history(edit->history, &edit->event, H_ENTER, text);
	if (edit->file)		/* libedit makes it 0600 */
		history(edit->history, &edit->event, H_SAVE, edit->file);
}

void mlb_edit_close(struct mlb_edit *edit)
{
	if (edit->line)
		el_end(edit->line);
	if (edit->history)
		history_end(edit->history);
	free(edit->text);
	free(edit->file);
	free(edit->last);
	free(edit);
}

int mlb_edit_limit_memory(size_t bytes)
{
	unsigned long pages = 0;
	struct rlimit limit;
	FILE *file = fopen("/proc/self/statm", "re");

	if (!file)
		return -errno;
	if (fscanf(file, "%lu", &pages) != 1)
		pages = 0;
	fclose(file);
	if (pages == 0 || getrlimit(RLIMIT_AS, &limit) < 0)
		return -EIO;
	limit.rlim_cur = pages * (rlim_t)sysconf(_SC_PAGESIZE) + bytes;
	if (limit.rlim_cur > limit.rlim_max)
		limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_AS, &limit) < 0 ? -errno : 0;
}
