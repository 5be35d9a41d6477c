/* The controller's Lua state: libraries, embedded Lua files, the error boundary of every callback. */
#ifndef MLB_RUNTIME_H
#define MLB_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

struct lua_State;
struct uv_loop_s;

/* One Lua file in the binary; the table ends with name == NULL and is sorted by name. */
struct mlb_embedded {
	const char *name;	/* "moonlb/cli/init.lua", "policies/default.lua" */
	const char *text;
	size_t size;
};
extern const struct mlb_embedded mlb_embedded_files[];

/* The file of that name, or NULL. */
const struct mlb_embedded *mlb_embedded_find(const char *name);

/* A new state with the standard libraries, luv on `loop`, cjson, yaml, every moonlb.core module and the
 * embedded files. `require` looks in the binary only, or first in $MOONLB_LUA_PATH (one absolute folder) when that is set.
 * Never NULL: running out of memory aborts. */
struct lua_State *mlb_runtime_open(struct uv_loop_s *loop);

/* Call `main` of Lua module `module` with argv as a table. Returns its result as exit code; 70 (EX_SOFTWARE)
 * with the trace on stderr when it raises. */
int mlb_runtime_main(struct lua_State *L, const char *module, int argc, char **argv);

/* Close every handle, run the loop until they are gone, close the state and the loop. */
void mlb_runtime_close(struct lua_State *L, struct uv_loop_s *loop);

/* Message handler for lua_pcall that appends a traceback. */
int mlb_traceback(struct lua_State *L);

/* A callback ended that began at `began` (uv_hrtime): one that held the loop for over 20 ms is counted, and named
 * in a debug line. */
void mlb_callback_ended(const char *who, uint64_t began);

/* Log and count an error that a callback raised. */
void mlb_callback_failed(const char *who, const char *message);

#endif
