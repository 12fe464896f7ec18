-- refused: the trigger t of notes calls public.outside, which is not in the account's space
-- tenancy: row schema
CREATE TABLE notes (id int);
CREATE OR REPLACE FUNCTION public.outside() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION public.outside();
