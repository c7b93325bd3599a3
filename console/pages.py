"""What a person sees: the login and one overview page."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, url_for
from flask_login import current_user, logout_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import PasswordField, StringField, SubmitField
from wtforms.validators import InputRequired, Length

from console import shapes
from console.auth import sign_in
from console.overview import overview
from console.state import state
from labelwheel.database.tables import QUEUE_STATUSES
from labelwheel.errors import ConflictError, NotFoundError
from retrain.run.receipt import receipt as receipt_of
from retrain.run.trigger import by_hand, cancel_by_hand

blueprint = Blueprint("pages", __name__)


class LoginForm(FlaskForm):  # type: ignore[misc]
    user = StringField("User", validators=[InputRequired(), Length(max=200)], render_kw={"autocomplete": "username", "autofocus": True})
    password = PasswordField("Password", validators=[InputRequired(), Length(max=200)], render_kw={"autocomplete": "current-password"})
    submit = SubmitField("Log in")


@blueprint.get("/")
def home() -> str:
    """The overview, whole without a script; the script only keeps it fresh."""
    try:
        with state().project() as (session, project):
            view = overview(session, project, state().settings)
    except NotFoundError as error:
        return render_template("unconnected.html", error=error)
    return render_template("overview.html", view=view, shapes=shapes, statuses=QUEUE_STATUSES)


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> Response | str | tuple[str, int]:
    if current_user.is_authenticated:
        return redirect(url_for("pages.home"))
    form = LoginForm()
    if not form.validate_on_submit():
        return render_template("login.html", form=form)
    if sign_in(form.user.data, form.password.data):
        return redirect(url_for("pages.home"))
    return render_template("login.html", form=form, wrong=True), 401


@blueprint.post("/logout")
def logout() -> Response:
    logout_user()
    return redirect(url_for("pages.login"))


@blueprint.post("/retrain")
def retrain() -> Response:
    """The button: queue a run, or say why not."""
    with state().project() as (_, project):
        pass
    try:
        run = by_hand(state().database, state().settings, project.id, who=state().settings.console_user)
        flash(f"Training {run.id} is queued.", "success")
    except ConflictError as error:
        flash(str(error), "warning")
    return redirect(url_for("pages.home"))


@blueprint.post("/cancel")
def cancel() -> Response:
    """The other button: end the run under way, or say that there is none."""
    with state().project() as (_, project):
        pass
    try:
        run = cancel_by_hand(state().database, project.id, None, state().settings.console_user)
        flash(f"Training {run} is cancelled.", "success")
    except (ConflictError, NotFoundError) as error:
        flash(error.message, "warning")
    return redirect(url_for("pages.home"))


@blueprint.get("/receipts/<int:run>")
def receipt(run: int) -> str:
    """What the labels of a run bought."""
    with state().project() as (session, project):
        found = receipt_of(session, project.id, run, state().settings)
    return render_template("receipt.html", receipt=found)
