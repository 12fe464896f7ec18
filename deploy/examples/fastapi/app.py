"""Notes, kept apart by account: no handler and no query names one."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from entrance import Base, Caller, get_repository, get_service

app = FastAPI()


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    text: Mapped[str]
    created_by: Mapped[UUID]


class NotesRepository:
    def __init__(self, session: Session):
        self.session = session

    def list(self):
        return self.session.scalars(select(Note).order_by(Note.id)).all()

    def find(self, id: UUID):
        return self.session.get(Note, id)

    def add(self, note: Note):
        self.session.add(note)


class NotesService:
    def __init__(self, session: Session):
        self.notes = NotesRepository(session)

    def write_down(self, author: UUID, text: str):
        note = Note(id=uuid4(), text=text, created_by=author)
        self.notes.add(note)
        return note


Notes = Annotated[NotesRepository, Depends(get_repository(NotesRepository))]
Writing = Annotated[NotesService, Depends(get_service(NotesService))]


class NewNote(BaseModel):
    text: str = Field(min_length=1, max_length=10_000)


class NoteOut(NewNote, from_attributes=True):
    id: UUID
    created_by: UUID


@app.get("/me")
def me(caller: Caller):
    return caller


@app.get("/notes")
def list_notes(notes: Notes) -> list[NoteOut]:
    return notes.list()


@app.post("/notes", status_code=201)
def create(new: NewNote, caller: Caller, notes: Writing) -> NoteOut:
    return notes.write_down(caller.id, new.text)


@app.get("/notes/{id}")
def read(id: UUID, notes: Notes) -> NoteOut:
    note = notes.find(id)
    if note is None:
        raise HTTPException(404)
    return note
