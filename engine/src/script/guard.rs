//! Functions of C around functions of a script's world, where only such ones will do.
//!
//! Lua names the line of an error by the frame that called. A function written in Lua that is called last (`return f(x)`)
//! takes the place of that frame, so an error raised in it could not name the script's line; a function of C does not. And
//! only a function of C can go on as another one in the same frame. These three keep nothing of Rust on the stack while
//! they call into Lua, so an error may pass through them as a jump.

use std::ffi::c_int;

use mlua::{Function, Lua, ffi, lua_State};

/// Longest pattern, in bytes: the matcher recurses with each of its items, and this much stack is always there.
const PATTERN_BYTES_MAX: usize = 1_000;
/// Arguments longer than this, in bytes or items, count as work.
const LONG: f64 = 1024.0;

/// How a built-in function's work is reckoned.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// By the length of its first argument.
    Length = 0,
    /// The same; the second argument is a pattern.
    Pattern = 1,
    /// By its first argument's length, as often as its second argument says.
    Times = 2,
    /// By its first argument's length, and more than once for each item.
    Sort = 3,
}

/// A function that calls `f`, which says first whether it succeeded. If so the rest are the results, else it is an error: a
/// text gets the place of the caller, any other value is raised as it is.
pub(super) fn raising(lua: &Lua, f: Function) -> mlua::Result<Function> {
    closure(lua, f, raise)
}

/// The built-in function `f`, called as it was, after `check` was called with the same arguments: a text that it gives is
/// raised in its stead.
pub(super) fn checked(lua: &Lua, f: Function, check: Function) -> mlua::Result<Function> {
    closure(lua, (f, check), check_and_go_on)
}

/// The built-in function `f`, called as it was, after `charge` was called with the work that it will do, if that is much.
pub(super) fn charged(lua: &Lua, f: Function, charge: Function, work: Work) -> mlua::Result<Function> {
    closure(lua, (f, charge, work as i32), charge_and_go_on)
}

fn closure(lua: &Lua, upvalues: impl mlua::IntoLuaMulti, f: mlua::lua_CFunction) -> mlua::Result<Function> {
    // SAFETY: the upvalues lie on the stack, nothing else does, and they are replaced by the closure over them. It runs
    // protected: a lack of memory is returned as an error.
    unsafe {
        lua.exec_raw(upvalues, |state| {
            let count = ffi::lua_gettop(state);
            ffi::lua_pushcclosure(state, f, count);
        })
    }
}

/// Upvalue 1: the function.
unsafe extern "C-unwind" fn raise(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls this with a valid state, its arguments on the stack and room for twenty more values. No Rust value
    // that has to be dropped lives here when an error jumps over this frame.
    unsafe {
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET);
        if ffi::lua_toboolean(state, 1) != 0 {
            return ffi::lua_gettop(state) - 1;
        }
        ffi::lua_settop(state, 2);
        if ffi::lua_type(state, 2) == ffi::LUA_TSTRING {
            ffi::luaL_where(state, 1);
            ffi::lua_insert(state, 2);
            ffi::lua_concat(state, 2);
        }
        ffi::lua_error(state)
    }
}

/// Upvalue 1: the built-in function; 2: the check.
unsafe extern "C-unwind" fn check_and_go_on(state: *mut lua_State) -> c_int {
    // SAFETY: as for `raise`. Room for copies of the arguments is asked for. Upvalue 1 was a function of C without upvalues
    // of its own (`go_on` checks that it is one), so it finds the same frame that a call of its own would have made.
    unsafe {
        let count = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, count + 2, c"too many arguments".as_ptr());
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
        for argument in 1..=count {
            ffi::lua_pushvalue(state, argument);
        }
        ffi::lua_call(state, count, 1);
        if ffi::lua_type(state, -1) == ffi::LUA_TSTRING {
            ffi::lua_error(state);
        }
        ffi::lua_settop(state, count);
        go_on(state)
    }
}

/// Upvalue 1: the built-in function; 2: what counts work; 3: how it is reckoned.
unsafe extern "C-unwind" fn charge_and_go_on(state: *mut lua_State) -> c_int {
    // SAFETY: as for `check_and_go_on`.
    unsafe {
        let work = ffi::lua_tointeger(state, ffi::lua_upvalueindex(3)) as i32;
        if work == Work::Pattern as i32
            && ffi::lua_type(state, 2) == ffi::LUA_TSTRING
            && ffi::lua_objlen(state, 2) > PATTERN_BYTES_MAX
        {
            return ffi::luaL_argerror(state, 2, c"pattern too long".as_ptr());
        }
        let kind = ffi::lua_type(state, 1);
        if kind == ffi::LUA_TSTRING || kind == ffi::LUA_TTABLE {
            let mut amount = ffi::lua_objlen(state, 1) as f64;
            if work == Work::Times as i32 {
                amount *= ffi::lua_tonumber(state, 2);
            } else if work == Work::Sort as i32 {
                amount *= 16.0;
            }
            if amount > LONG {
                let count = ffi::lua_gettop(state);
                ffi::lua_pushvalue(state, ffi::lua_upvalueindex(2));
                ffi::lua_pushnumber(state, amount);
                ffi::lua_call(state, 1, 0);
                ffi::lua_settop(state, count);
            }
        }
        go_on(state)
    }
}

/// Goes on as the function of C in upvalue 1, in this frame.
///
/// # Safety
/// Called as the last thing by a function of C whose first upvalue is a function of C that uses no upvalues.
unsafe fn go_on(state: *mut lua_State) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1)) {
            Some(f) => f(state),
            None => ffi::luaL_argerror(state, 1, c"no function of C".as_ptr()),
        }
    }
}
