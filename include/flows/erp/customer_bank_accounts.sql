select
    id,
    debtor_id,
    iban,
    known_from,
    updated_at
from erp.debtor_bank
