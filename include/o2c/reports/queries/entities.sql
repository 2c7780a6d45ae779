select
    entity_code,
    legal_name,
    functional_currency_code
from marts_core.dim_legal_entity
order by entity_code collate "C"
