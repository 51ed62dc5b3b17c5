"""The fast way to render: a straight tree becomes one generated Python function of literal texts and small holes.

Only what recipients differ in is computed per recipient; everything else is a constant. Invariant: the function gives
exactly what Jinja2 gives for the same tree, or raises; the caller then asks Jinja2, whose answer or error counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from jinja2 import nodes

from engine.dispatch.filters.questions import TESTS
from engine.dispatch.filters.sandbox import FUNCTIONS
from engine.dispatch.filters.values import Budget, Missing, look_up, out

Renderer = Callable[[dict[str, Any], Budget], str]

# With more holes than this even straight text is charged to the budget: a long value in each of them adds up.
HOLES_FREE_MAX: Final = 500
# In a loop, which has paid for its rounds, texts up to this many characters are not charged again.
LENGTH_FREE_MAX: Final = 64

_OPERATORS: Final = {
    "eq": "==",
    "ne": "!=",
    "gt": ">",
    "gteq": ">=",
    "lt": "<",
    "lteq": "<=",
    "in": "in",
    "notin": "not in",
}
_LOOP: Final = {
    "index": "({i} + 1)",
    "index0": "{i}",
    "first": "({i} == 0)",
    "last": "({i} == {n} - 1)",
    "length": "{n}",
    "revindex": "({n} - {i})",
    "revindex0": "({n} - {i} - 1)",
}


class NeedsJinja(Exception):
    """The tree has something that only Jinja2 does right."""


class _Scope(msgspec.Struct, frozen=True):
    """Which Python variable a name is in, and the index and length variables of the loop we are in."""

    variables: dict[str, str]
    loop: tuple[str, str] | None = None
    assigns: bool = True  # inside an `if`, whether a `set` happened is known only later: that is left to Jinja2
    charged: bool = False


def compile_tree(tree: nodes.Template, *, html: bool) -> Renderer | None:
    """Return the function for a straight tree, or None when it has to be rendered by Jinja2."""
    writer = _Writer(html=html, charged=_hole_count(tree.body) > HOLES_FREE_MAX)
    try:
        return writer.function(tree)
    except (NeedsJinja, RecursionError, MemoryError, SyntaxError):
        return None


def _text_hole(value: Any, budget: Budget) -> str:
    return out(value, budget)


def _html_hole(value: Any, budget: Budget) -> str:
    text = out(value, budget)
    return _escaped(text) if type(text) is str else text  # Markup is escaped already


def _escaped(text: str) -> str:
    # What markupsafe.escape writes, without the Markup object around it, which costs five times as much.
    text = text.replace("&", "&amp;").replace(">", "&gt;").replace("<", "&lt;")
    return text.replace("'", "&#39;").replace('"', "&#34;")


def _path(root: Any, names: tuple[Any, ...], dotted: str, line: int) -> Any:
    return root if isinstance(root, Missing) else look_up(root, names, dotted=dotted, line=line)


class _Writer:
    def __init__(self, *, html: bool, charged: bool) -> None:
        self._charged = charged
        self._html = html
        self._lines: list[str] = []
        self._run: list[str] = []  # the texts and holes since the last control, written as one tuple
        self._constants: dict[str, Any] = {
            "escaped": _escaped,
            "hole": _html_hole if html else _text_hole,
            "path": _path,
        }
        self._roots: dict[str, str] = {}
        self._count = 0

    def function(self, tree: nodes.Template) -> Renderer:
        """Write and compile the function."""
        self._body(tree.body, _Scope(variables={}, charged=self._charged), 1)
        self._flush(1)
        head = ["def render(names, budget):"]
        for name, variable in self._roots.items():
            head.append(f"    {variable} = names.get({name!r}, {self._constant(Missing(name))})")
        if len(self._lines) == 1 and self._lines[0].startswith("    parts += "):
            text = self._lines[0].removeprefix("    parts += ")
            source = [*head, f"    return ''.join({text})"]
        else:
            source = [*head, "    parts = []", *self._lines, "    return ''.join(parts)"]
        space = dict(self._constants)
        # The source is made of variables and operators only; every name and text of the template is a constant in
        # `space` or a repr() of a string.
        exec(compile("\n".join(source), "<partial>", "exec"), space)  # noqa: S102 - see above
        return space["render"]  # type: ignore[no-any-return]

    def _variable(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

    def _constant(self, value: Any) -> str:
        name = self._variable("k")
        self._constants[name] = value
        return name

    def _function(self, prefix: str, name: str, table: Mapping[str, Callable[..., Any]]) -> str:
        variable = f"{prefix}{name}"
        self._constants[variable] = table[name]
        return variable

    def _line(self, depth: int, text: str) -> None:
        self._lines.append("    " * depth + text)

    def _flush(self, depth: int) -> None:
        if self._run:
            self._line(depth, f"parts += ({', '.join(self._run)},)")
            self._run.clear()

    def _body(self, body: list[nodes.Node], scope: _Scope, depth: int) -> None:
        for node in body:
            if isinstance(node, nodes.Output):
                self._output(node, scope)
                continue
            self._flush(depth)
            match node:
                case nodes.If():
                    self._if(node, scope, depth)
                case nodes.For():
                    self._for(node, scope, depth)
                case nodes.With():
                    self._with(node, scope, depth)
                case nodes.Assign():
                    self._assign(node, scope, depth)
                case _:
                    raise NeedsJinja

    def _block(self, body: list[nodes.Node], scope: _Scope, depth: int) -> None:
        start = len(self._lines)
        self._body(body, scope, depth)
        self._flush(depth)
        if len(self._lines) == start:
            self._line(depth, "pass")

    def _output(self, node: nodes.Output, scope: _Scope) -> None:
        for child in node.nodes:
            if isinstance(child, nodes.TemplateData):
                self._run.append(repr(child.data))
            elif isinstance(child, nodes.Filter) and child.name == "_out" and child.node is not None:
                self._run.append(self._hole(child.node, scope))
            else:
                raise NeedsJinja

    def _hole(self, node: nodes.Expr, scope: _Scope) -> str:
        full = f"hole({self._expr(node, scope)}, budget)"
        # The usual case without a call: objects all the way, and a text at the end.
        text, guards = "t", []
        if isinstance(node, nodes.Name):
            text = self._name(node.name, scope)
            guards.append(f"type({text}) is str")
        elif _is_chain(node):
            at = self._name(node.node.name, scope)  # type: ignore[attr-defined]
            for name in node.args[0].value:  # type: ignore[attr-defined]
                guards.append(f"type({at}) is dict")
                at = f"(t := {at if len(guards) == 1 else 't'}.get({name!r}))"
            guards.append(f"type({at}) is str")
        else:
            return full
        if scope.charged:
            guards.append(f"len({text}) <= {LENGTH_FREE_MAX}")
        printed = f"({text} if {text}.isalnum() else escaped({text}))" if self._html else text
        return f"({printed} if {' and '.join(guards)} else {full})"

    def _if(self, node: nodes.If, scope: _Scope, depth: int) -> None:
        inner = msgspec.structs.replace(scope, assigns=False)
        self._line(depth, f"if {self._expr(node.test, scope)}:")
        self._block(node.body, inner, depth + 1)
        for other in node.elif_:
            self._line(depth, f"elif {self._expr(other.test, scope)}:")
            self._block(other.body, inner, depth + 1)
        if node.else_:
            self._line(depth, "else:")
            self._block(node.else_, inner, depth + 1)

    def _for(self, node: nodes.For, scope: _Scope, depth: int) -> None:
        items, index, length = self._variable("items"), self._variable("i"), self._variable("n")
        self._line(depth, f"{items} = {self._expr(node.iter, scope)}")
        variables = dict(scope.variables)
        target = self._target(node.target, variables)
        inner = _Scope(variables=variables, loop=(index, length), charged=True)
        if node.test is not None:
            if not isinstance(node.target, nodes.Name):
                raise NeedsJinja
            test = self._expr(node.test, _Scope(variables=variables, loop=scope.loop, charged=True))
            self._line(depth, f"{items} = [{target} for {target} in {items} if {test}]")
        self._line(depth, f"{length} = len({items})")
        self._line(depth, f"for {index}, {target} in enumerate({items}):")
        self._block(node.body, inner, depth + 1)
        if node.else_:
            self._line(depth, f"if not {length}:")
            self._block(node.else_, msgspec.structs.replace(scope, assigns=False), depth + 1)

    def _target(self, target: nodes.Node, variables: dict[str, str]) -> str:
        if isinstance(target, nodes.Name):
            variables[target.name] = variable = self._variable("v")
            return variable
        if isinstance(target, nodes.Tuple) and target.items:
            return f"({', '.join(self._target(item, variables) for item in target.items)},)"
        raise NeedsJinja

    def _with(self, node: nodes.With, scope: _Scope, depth: int) -> None:
        variables = dict(scope.variables)
        for target, value in zip(node.targets, node.values, strict=True):
            text = self._expr(value, scope)
            self._line(depth, f"{self._target(target, variables)} = {text}")
        inner = msgspec.structs.replace(scope, variables=variables, assigns=True)
        self._body(node.body, inner, depth)
        self._flush(depth)

    def _assign(self, node: nodes.Assign, scope: _Scope, depth: int) -> None:
        # Setting a name again, or one from outside, has rules of its own in Jinja2; it is rare in templates.
        if not scope.assigns or not isinstance(node.target, nodes.Name) or node.target.name in scope.variables:
            raise NeedsJinja
        text = self._expr(node.node, scope)
        if node.target.name in self._roots:
            raise NeedsJinja
        self._line(depth, f"{self._target(node.target, scope.variables)} = {text}")

    def _expr(self, node: nodes.Node, scope: _Scope) -> str:
        match node:
            case nodes.Const():
                return self._constant(node.value) if not isinstance(node.value, bool | int) else repr(node.value)
            case nodes.Name():
                return self._name(node.name, scope)
            case nodes.Filter():
                return self._filter(node, scope)
            case nodes.Test():
                given = [node.node, *node.args]
                if node.kwargs or node.dyn_args or node.dyn_kwargs:
                    raise NeedsJinja
                name = self._function("is_", node.name, TESTS)
                return f"{name}({', '.join(self._expr(arg, scope) for arg in given)})"
            case nodes.Compare():
                rest = (f"{_OPERATORS[o.op]} {self._expr(o.expr, scope)}" for o in node.ops)
                return f"({self._expr(node.expr, scope)} {' '.join(rest)})"
            case nodes.And() | nodes.Or():
                word = "and" if isinstance(node, nodes.And) else "or"
                return f"({self._expr(node.left, scope)} {word} {self._expr(node.right, scope)})"
            case nodes.Not() | nodes.Neg() | nodes.Pos():
                sign = {nodes.Not: "not ", nodes.Neg: "-", nodes.Pos: "+"}[type(node)]
                return f"({sign}{self._expr(node.node, scope)})"
            case nodes.CondExpr(expr2=nodes.Expr() as other):
                test, yes = self._expr(node.test, scope), self._expr(node.expr1, scope)
                return f"({yes} if {test} else {self._expr(other, scope)})"
            case nodes.List():
                return f"[{', '.join(self._expr(item, scope) for item in node.items)}]"
            case nodes.Getattr(node=nodes.Name(name="loop")) if scope.loop and node.attr in _LOOP:
                return _LOOP[node.attr].format(i=scope.loop[0], n=scope.loop[1])
            case _:
                raise NeedsJinja

    def _name(self, name: str, scope: _Scope) -> str:
        if name in scope.variables:
            return scope.variables[name]
        if name not in self._roots:
            self._roots[name] = self._variable("r")
        return self._roots[name]

    def _filter(self, node: nodes.Filter, scope: _Scope) -> str:
        if node.node is None:
            raise NeedsJinja
        value = self._expr(node.node, scope)
        given = [self._expr(arg, scope) for arg in node.args]
        given += [f"{keyword.key}={self._expr(keyword.value, scope)}" for keyword in node.kwargs]
        if node.name == "_path":
            return f"path({', '.join([value, *given])})"
        function = self._function("do_", node.name, FUNCTIONS)
        return f"{function}({', '.join(['budget', value, *given])})"


def _is_chain(node: nodes.Expr) -> bool:
    """Tell whether a look-up goes from a name through members, without numbers."""
    if not isinstance(node, nodes.Filter) or node.name != "_path" or not isinstance(node.node, nodes.Name):
        return False
    names = node.args[0]
    return isinstance(names, nodes.Const) and all(isinstance(name, str) for name in names.value)


def _hole_count(body: list[nodes.Node]) -> int:
    count = 0
    for node in body:
        count += 1
        if isinstance(node, nodes.If | nodes.For | nodes.With):
            count += _hole_count(node.body)
        if isinstance(node, nodes.If | nodes.For):
            count += _hole_count([*getattr(node, "elif_", ()), *node.else_])
    return count
