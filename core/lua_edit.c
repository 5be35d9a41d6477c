/* core/lua_edit.c: module `moonlb.core.edit`; mechanism is core/edit.c (libedit). */
#include <errno.h>
#include <limits.h>

#include "edit.h"
#include "lua_util.h"

#define EDIT_MT "moonlb.core.edit"

struct editor {
	struct mlb_edit *edit;	/* NULL: closed, or not opened yet */
	lua_State *L;		/* the one that reads now */
	int complete;		/* function(before) -> insert, shown; LUA_NOREF: none */
	int kept;		/* the texts that libedit looks at now */
};

static struct editor *check_editor(lua_State *L, int arg)
{
	struct editor *editor = luaL_checkudata(L, arg, EDIT_MT);

	luaL_argcheck(L, editor->edit, arg, "editor is closed");
	return editor;
}

/* Runs protected: editor, before -> the two texts in a table that is pinned while libedit looks at them. */
static int ask(lua_State *L)
{
	struct editor *editor = lua_touserdata(L, 1);
	struct mlb_edit_completion *ret = lua_touserdata(L, 2);

	lua_rawgeti(L, LUA_REGISTRYINDEX, editor->complete);
	lua_pushvalue(L, 3);
	lua_call(L, 1, 2);
	if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
		return luaL_error(L, "complete: two texts expected");
	ret->insert = lua_tostring(L, -2);
	ret->shown = lua_tostring(L, -1);
	lua_createtable(L, 2, 0);		/* insert shown kept */
	lua_insert(L, -3);
	lua_rawseti(L, -3, 1);
	lua_rawseti(L, -2, 2);
	mlb_unpin(L, &editor->kept);
	editor->kept = mlb_pin(L, lua_gettop(L));
	return 0;
}

/* An error in here must not unwind libedit: it completes nothing. */
static void on_complete(void *data, const char *before, size_t length, struct mlb_edit_completion *ret)
{
	struct editor *editor = data;
	lua_State *L = editor->L;

	lua_pushcfunction(L, ask);
	lua_pushlightuserdata(L, editor);
	lua_pushlightuserdata(L, ret);
	lua_pushlstring(L, before, length);
	if (lua_pcall(L, 3, 0, 0) == LUA_OK)
		return;
	lua_pop(L, 1);
	*ret = (struct mlb_edit_completion){ "", "" };
}

/* moonlb.core.edit.open{history=path|nil, size=1000, complete=function(before) -> insert, shown} -> editor | nil, ...:
 * on standard input and output. `insert` is typed for the user, `shown` printed below the line; both are texts. */
static int edit_open(lua_State *L)
{
	const char *history;
	struct editor *editor;
	int size, result;

	luaL_checktype(L, 1, LUA_TTABLE);
	history = mlb_opt_string(L, 1, "history", NULL);
	size = (int)mlb_opt_integer(L, 1, "size", 1000, 1, 100000);
	luaL_argcheck(L, lua_getfield(L, 1, "complete") == LUA_TFUNCTION, 1, "complete: function expected");
	editor = lua_newuserdatauv(L, sizeof(*editor), 0);
	*editor = (struct editor){ .complete = LUA_NOREF, .kept = LUA_NOREF };
	luaL_setmetatable(L, EDIT_MT);
	result = mlb_edit_open(history, size, on_complete, editor, &editor->edit);
	if (result < 0)
		return mlb_push_error(L, result, "the terminal");
	editor->complete = mlb_pin(L, -2);
	return 1;
}

/* editor:read(prompt[, idle]) -> line; nil alone: Ctrl-D; nil, message, "EINTR": Ctrl-C; ..., "ETIMEDOUT": no key was
 * pressed for `idle` seconds. Blocks: for programs of their own. */
static int editor_read(lua_State *L)
{
	struct editor *editor = check_editor(L, 1);
	const char *prompt = luaL_checkstring(L, 2);
	lua_Number idle = luaL_optnumber(L, 3, -1);
	const char *line = NULL;
	int result;

	luaL_argcheck(L, idle <= INT_MAX / 1000, 3, "too long");
	editor->L = L;
	result = mlb_edit_read(editor->edit, prompt, idle < 0 ? -1 : (int)(idle * 1000), &line);
	editor->L = NULL;
	if (result < 0)
		return mlb_push_error(L, result, "reading a line");
	lua_pushstring(L, line);	/* nil for NULL */
	return 1;
}

/* editor:remember(text): into the history, and its file. */
static int editor_remember(lua_State *L)
{
	mlb_edit_remember(check_editor(L, 1)->edit, luaL_checkstring(L, 2));
	return 0;
}

/* editor:close(); also __gc and __close. Idempotent; the terminal is as it was. */
static int editor_close(lua_State *L)
{
	struct editor *editor = luaL_checkudata(L, 1, EDIT_MT);
	struct mlb_edit *edit = editor->edit;

	editor->edit = NULL;
	mlb_unpin(L, &editor->complete);
	mlb_unpin(L, &editor->kept);
	if (edit)
		mlb_edit_close(edit);
	return 0;
}

/* moonlb.core.edit.catch_interrupts() -> true | nil, message, code: SIGINT sets a flag; a second one before the flag is
 * looked at ends the process. */
static int edit_catch_interrupts(lua_State *L)
{
	int result = mlb_edit_catch_interrupts();

	if (result < 0)
		return mlb_push_error(L, result, "SIGINT");
	lua_pushboolean(L, 1);
	return 1;
}

/* moonlb.core.edit.interrupted() -> boolean: was there one since the last call? */
static int edit_interrupted(lua_State *L)
{
	lua_pushboolean(L, mlb_edit_interrupted());
	return 1;
}

/* moonlb.core.edit.limit_memory(bytes) -> true | nil, message, code: of what this process maps beyond what it has. */
static int edit_limit_memory(lua_State *L)
{
	lua_Integer bytes = luaL_checkinteger(L, 1);
	int result;

	luaL_argcheck(L, bytes > 0, 1, "bytes expected");
	result = mlb_edit_limit_memory((size_t)bytes);
	if (result < 0)
		return mlb_push_error(L, result, "RLIMIT_AS");
	lua_pushboolean(L, 1);
	return 1;
}

static const luaL_Reg functions[] = {
	{ "catch_interrupts", edit_catch_interrupts },
	{ "interrupted", edit_interrupted },
	{ "limit_memory", edit_limit_memory },
	{ "open", edit_open },
	{ NULL, NULL },
};

static const luaL_Reg methods[] = {
	{ "close", editor_close },
	{ "read", editor_read },
	{ "remember", editor_remember },
	{ NULL, NULL },
};

static const luaL_Reg metamethods[] = {
	{ "__close", editor_close },
	{ "__gc", editor_close },
	{ NULL, NULL },
};

int luaopen_moonlb_core_edit(lua_State *L);

int luaopen_moonlb_core_edit(lua_State *L)
{
	mlb_new_class(L, EDIT_MT, methods, metamethods);
	luaL_newlib(L, functions);
	return 1;
}
